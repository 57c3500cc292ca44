"""Older encodings: the very text, or a refusal that names the right one; never other letters."""

# ruff: noqa: RUF001  # letters that look alike are the point

import re

import pytest

from mlx_model.documents import encodings
from mlx_model.documents.encodings import UnknownEncoding, decode_older

# Article 1 of the Declaration of Human Rights, a sentence with the language's other letters, and its encodings.
TEXTS = {
    "French": (
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Déjà, l’été à l’hôtel, le cœur naïf, "
        "ça coûte 20 €.",
        ["cp1252", "mac_roman"],
    ),
    "German": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Größe, Straße, schöne Übungen, Äpfel und Öl, "
        "Bäume, süße Früchte.",
        ["cp1252", "mac_roman", "cp850", "cp437"],
    ),
    "Spanish": (
        "Todos los seres humanos nacen libres e iguales en dignidad. ¿Dónde está el niño? ¡Mañana comerá aquí! Él "
        "vivió.",
        ["cp1252", "mac_roman", "iso8859_15", "cp850"],
    ),
    "Polish": (
        "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Zażółć gęślą jaźń, Łódź.",
        ["cp1250", "iso8859_2", "cp852", "mac_latin2"],
    ),
    "Hungarian": (
        "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Árvíztűrő tükörfúrógép.",
        ["cp1250", "iso8859_2", "cp852"],
    ),
    "Turkish": ("Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İstanbul'da güneş.", ["cp1254"]),
    "Russian": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью. "
        "Я тоже.",
        ["cp1251", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic"],
    ),
    "Russian, all capitals": (
        "ВНИМАНИЕ! ВСЕМ СОТРУДНИКАМ ЯВИТЬСЯ НА СОБРАНИЕ В ПЯТНИЦУ. ПРОПУСК ОБЯЗАТЕЛЕН. НЕ ОПАЗДЫВАТЬ.",
        ["cp1251", "koi8_r", "cp866"],
    ),
    "Ukrainian": ("Всі люди народжуються вільними і рівними у своїй гідності та правах. Її їжа є тут.", ["koi8_u"]),
    "Greek": (
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
        ["cp1253", "iso8859_7"],
    ),
    "Hebrew": ("כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.", ["cp1255"]),
    "Arabic": ("يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا.", ["cp1256", "iso8859_6"]),
    "Thai": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน ในเกียรติศักดิ์ และสิทธิ", ["cp874"]),
    "Japanese": (
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。コンピュータで読みます。"
        "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。\nこれは日本語の文章です。",
        ["shift_jis", "euc_jp"],
    ),
    "Japanese, addresses": (
        "東京都千代田区丸の内\n大阪府大阪市北区梅田\n京都府京都市中京区\n",
        ["shift_jis", "euc_jp"],
    ),
    "Japanese, a letterhead": ("株式会社山田商事\n代表取締役社長\n田中一郎\n住所東京都新宿区西新宿\n", ["euc_jp"]),
    "Japanese, half width": ("ﾃｽﾄ ﾃﾞｰﾀ ﾔﾏﾀﾞ ﾀﾛｳ\nﾄｳｷﾖｳﾄ ｼﾝｼﾞﾕｸｸ", ["shift_jis"]),
    "Chinese": (
        "人人生而自由，在尊严和权利上一律平等。这是一个中文文本文件，用来测试编码。今天天气很好。",
        ["gb18030"],
    ),
    "Chinese (traditional)": ("人人生而自由，在尊嚴和權利上一律平等。這是一個中文文本文件，用來測試編碼。", ["big5"]),
    "Korean": (
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 오늘은 날씨가 좋습니다.",
        ["euc_kr"],
    ),
    "Korean, names": ("김철수,서울특별시 강남구\n이영희,부산광역시 해운대구\n", ["euc_kr"]),
    "English": (
        "It’s “fine” – he said, and didn’t care. The price was £20… that’s all, at 25 °C.",
        ["cp1252", "mac_roman"],
    ),
    "code": ("# считаем сумму\nreturn a + b  # вернуть\nprint('Готово')\n", ["cp1251", "koi8_r"]),
}
CASES = [(language, codec) for language, (_, codecs) in TEXTS.items() for codec in codecs]
LENGTHS = (3, 8, 20, 50, 1000)


def outcome(text: str, codec: str) -> str:
    """What becomes of a text: "read", "named", or what went wrong."""
    data = text.encode(codec)
    try:
        decoded, name = decode_older(data)
    except UnknownEncoding as error:
        names = re.split(", | or ", str(error).partition("it may be ")[2].partition(", which")[0])
        codecs = {name: codec for codec, name in (*encodings.SINGLE_BYTE, *encodings.MULTI_BYTE)}
        right = any(_decoded(data, codecs[name]) == text for name in names if name in codecs)
        return "named" if right or names[-1] == "another" else f"not named: {error}"
    return "read" if decoded == text else f"garbage, read as {name}: {decoded}"


def _decoded(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def pieces(text: str, length: int) -> list[str]:
    """Some pieces of the text that have letters beyond ASCII."""
    starts = range(0, max(1, len(text) - length + 1), max(13, length // 2))
    return [piece for start in starts if not (piece := text[start : start + length]).isascii()]


@pytest.mark.parametrize(("language", "codec"), CASES)
def test_never_garbage_and_never_without_the_right_name(language: str, codec: str) -> None:
    for length in LENGTHS:
        for piece in pieces(TEXTS[language][0], length):
            if _decoded(piece.encode(codec), "utf-8") is None:  # else no one could tell
                assert outcome(piece, codec) in ("read", "named"), piece


NOT_ALONE = {"Turkish", "Hebrew", "Arabic", "code", "English"} | {name for name in TEXTS if ", " in name}
"""Too short, or as plausible in another encoding."""


@pytest.mark.parametrize(("language", "codec"), [case for case in CASES if case[0] not in NOT_ALONE])
def test_a_paragraph_is_read(language: str, codec: str) -> None:
    assert outcome(TEXTS[language][0], codec) == "read"


def test_the_refusal_names_the_line_and_converts_with_a_likely_name() -> None:
    with pytest.raises(UnknownEncoding) as error:
        decode_older(b"one\ntwo\nd\xe9j\xe0 vu\n")
    assert str(error.value).startswith("is not UTF-8 (line 3); it may be WINDOWS-1252, ")
    assert str(error.value).endswith("if it is WINDOWS-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8")


def test_one_word_decides_nothing() -> None:
    """The names of all encodings in use don't fit here: a word that only one of these can have may be of another."""
    with pytest.raises(UnknownEncoding, match="it may be WINDOWS-1252"):
        decode_older("Stra\u00dfe \u00fcber".encode("cp1252"))


def test_bytes_that_are_no_text_get_no_advice() -> None:
    data = b" ".join(
        bytes([first, second, third])
        for first, second, third in zip(range(128, 250), range(250, 128, -1), range(129, 251), strict=True)
    )
    with pytest.raises(UnknownEncoding, match="nor plausible text in an older encoding; save it as UTF-8"):
        decode_older(data)


def test_a_large_file_is_judged_by_its_first_words() -> None:
    text = TEXTS["Japanese"][0] * 9000  # one line of a megabyte
    assert decode_older(text.encode("shift_jis")) == (text, "SHIFT_JIS")
