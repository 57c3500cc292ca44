"""The web pages in an answer."""

from app.chat.web_pages import web_pages

PAGE = "<!doctype html>\n<title>Snake</title>\n<script>```</script>\n"


def test_which_code_blocks_are_pages() -> None:
    text = (
        f"Here:\n\n````html\n{PAGE}````\n\n```HTML title=x\n<p>two</p>\n```\n\n- ```\n  <!-- a --> <html lang=en>\n"
        "  ```\n\n"
        "```python\nprint('<html>')\n```\n\n```\n<p>part</p>\n```\n\n<html>no block</html>\n\n    <html>indented"
    )
    assert web_pages(text) == [PAGE, "<p>two</p>\n", "<!-- a --> <html lang=en>\n"]
    assert web_pages("") == web_pages("No code.") == []
