"""Tasks without working: greetings, questions about the program, and the honest answer to everything else."""

import string

from .examples import Draw, Effort, Example, answer
from .facts import DEFAULT, GREETINGS, TOPICS, Topic
from .words import phrases

SUBJECTS = phrases("""
    the weather, france, paris, dogs, cats, black holes, the moon, rome, napoleon, the stock market,
    football, cooking rice, bread, python decorators, rust lifetimes, quantum physics, love, music, jazz,
    mozart, shakespeare, the roman empire, world war two, the sun, mars, evolution, dinosaurs, whales,
    bitcoin, taxes, my cat, my job, gardening, tomatoes, coffee, tea, chess, tennis, poetry, a dragon,
    robots, the future, climate change, volcanoes, japan, tokyo, germany, berlin, china, india, brazil,
    einstein, newton, calculus, linear algebra, the brain, sleep, dreams, health, vitamins, the heart, java,
    linux, git, docker, sql, web servers, photography, painting, van gogh, movies, star wars, books,
    history, the bible, philosophy, plato, ethics, economics, banks, travel, airplanes, trains, cars,
    electric cars, batteries, solar power, rivers, oceans, mountains, everest, ice cream, pizza, chocolate,
    sushi, yoga, running, a birthday party, my homework, an essay, a cover letter, a haiku, my garden,
    birds, horses, bees, spiders, apple, openai, google, the president, england, spain, italy, new york,
    london, the news, the date, the time, today, tomorrow, prime numbers, pi, money
""")
UNSEEN_SUBJECTS = phrases("""
    penguins, the eiffel tower, guitar chords, compilers, knitting, beethoven, neptune, a wedding speech,
    portugal, glaciers, sorting algorithms, the french revolution, my neighbour, astronomy, swimming, honey
""")
FORMS = (
    "tell me about {s}", "what is {s}", "what is {s}", "write a poem about {s}", "who invented {s}", "explain {s}",
    "why is {s} so popular", "what do you think about {s}", "give me a summary of {s}", "write a story about {s}",
    "how does {s} work", "what is the capital of {s}", "what is the capital of {s}", "translate {s} into german",
    "write a python function for {s}", "is {s} good for me", "when did {s} begin", "how old is {s}", "where is {s}",
    "where can i find {s}", "i want to learn {s}", "i like {s}", "what is the best book about {s}",
    "help me with {s}", "describe {s} in three sentences", "how far away is {s}", "do you like {s}",
    "write a joke about {s}", "tell me a joke", "what is the meaning of {s}", "i am sad about {s}",
    "give me a recipe for {s}", "compare {s} and {t}", "tell me a story", "what is better, {s} or {t}",
    "list five facts about {s}", "fix my code for {s}", "who is {s}", "who was {s}", "can you write {s}",
    "can you explain {s} to me", "how many people live in {s}", "how many {s} are there", "how do i cook {s}",
    "how do i make {s}", "why do we need {s}", "what rhymes with {s}", "what is another word for {s}", "define {s}",
    "summarise {s}", "write an email about {s}", "what day is it", "what time is it", "what is the date today",
    "how many words are in {s} and {t}", "is {s} bigger than {t}", "what colour is {s}", "what happened in {s}",
    "write code that sorts {s}", "write a regex for {s}", "give me advice on {s}",
    "what is the difference between {s} and {t}", "should i buy {s}", "plan a trip to {s}", "draw {s}",
    "sing a song about {s}", "tell me more", "why", "why not", "how much does {s} cost", "how tall is {s}",
    "what is the square root of {s}", "if i have 3 {s} and buy 2 {t}, what then", "what do you mean", "are you sure",
    "that is wrong", "you are wrong", "no", "explain that", "say that again", "really", "i love you", "i am bored",
    "i am tired", "test", "asdf", "what", "and then", "continue", "go on", "repeat that", "summarise this text",
    "explain this", "what does this mean", "translate this", "review this code", "what is wrong here",
)  # fmt: skip
ATTACHED = (
    "summarise this", "summarize this text", "explain this", "what does this do", "translate this into french",
    "fix this", "review this", "what is this about", "find the bug", "rewrite this", "write a commit message",
    "is this correct", "what is the main point", "turn this into a list", "why does this fail", "",
)  # fmt: skip
FOREIGN = (
    "¿dónde está la biblioteca?", "hola, ¿qué tal?", "was ist die hauptstadt von frankreich?",
    "wie geht es dir?", "bonjour, comment ça va ?", "qu'est-ce que c'est ?",
    "ciao, come stai?", "что ты умеешь?", "привет, как дела?",
    "你好吗？", "法国的首都是哪里？", "こんにちは、元気ですか。",  # noqa: RUF001
    "日本の首都はどこですか", "안녕하세요", "γειά σου",  # noqa: RUF001
    "שלום עולם", "مرحبا كيف حالك", "नमस्ते",
    "zażółć gęślą jaźń", "hur mår du?", "merhaba nasılsın",  # noqa: RUF001
    "xin chào", "olá, tudo bem?",
)  # fmt: skip
# Blocks that stray characters come from: Latin-1, Greek, Cyrillic, punctuation, kana, CJK, emoji.
BLOCKS = (
    (0xC0, 0x17F),
    (0x391, 0x3C9),
    (0x410, 0x44F),
    (0x2010, 0x2044),
    (0x3041, 0x30FE),
    (0x4E00, 0x4FFF),
    (0x1F300, 0x1F64F),
)
CODE = (
    "def {a}({b}):\n    return {b} + 1\n", "for {a} in {b}:\n    print({a})\n", "import {a}\nfrom {b} import {a}\n",
    "{{\"{a}\": [1, 2, 3], \"{b}\": true}}\n", "fn {a}() -> {b} {{\n    let x = 5;\n}}\n",
    "Error: {a} not found in {b}\n", "<div class=\"{a}\">{b}</div>\n", "SELECT {a} FROM {b} WHERE id = 7;\n",
    "- {a}\n- {b}\n", "# {a}\n\n{b} {b}.\n", "https://{a}.com/{b}?q=1\n", "$ {a} --{b}\n",
    "| {a} | {b} |\n|---|---|\n", "{a}@{b}.org\n",
)  # fmt: skip


def _ask(draw: Draw, topics: tuple[Topic, ...]) -> tuple[Topic, str]:
    rng = draw.rng
    topic = rng.choice(topics)
    training, unseen = topic.phrasings
    question = rng.choice(unseen) if draw.test else rng.choice(rng.choice(training))
    return topic, question


def _dress(draw: Draw, question: str, mark: str) -> str:
    """Capitals, a closing mark and a lead-in, as people add them or not."""
    lead = draw.rng.random()
    if lead < 0.1 and not draw.test:
        question = draw.rng.choice(["please tell me: ", "hey, ", "ok, ", "hi, ", "and ", "so "]) + question
    if draw.chance(0.5):
        question = question[:1].upper() + question[1:]
    if draw.chance(0.6) and question[-1:].isalnum():
        question += mark
    return question + ("\n" if draw.chance(0.08) else "")


def greet(draw: Draw, effort: Effort) -> Example:
    """Small talk with a fixed answer of its kind."""
    topic, question = _ask(draw, GREETINGS)
    seen = {
        "hi": "The user greets me.",
        "fine": "The user asks how I am.",
        "welcome": "The user is pleased.",
        "goodbye": "The user says goodbye.",
    }[topic.name]
    if effort == "low":
        seen = "Small talk."
    elif effort == "high":
        seen += " I answer in a friendly way and keep it short."
    mark = {"hi": "!", "fine": "?", "welcome": "!", "goodbye": "."}[topic.name]
    return answer("greeting", _dress(draw, question, mark), seen, topic.reply)


def program(draw: Draw, effort: Effort) -> Example:
    """A question about the program or the demo model itself."""
    topic, question = _ask(draw, TOPICS)
    analysis = {
        "low": "I know this.",
        "medium": f"The user asks about this program: {topic.name}.",
        "high": f"The user asks about this program. The topic is: {topic.name}. I know this one, "
        "so I answer with what I know.",
    }[effort]
    return answer("program", _dress(draw, question, "?"), analysis, topic.reply)


def _text(draw: Draw, longest: int) -> str:
    """Text of any kind: words, code, other scripts, stray characters."""
    rng, words, parts = draw.rng, draw.words, []
    for _ in range(rng.randint(1, longest)):
        kind = rng.random()
        if kind < 0.6:
            sentence = " ".join(words.english(rng, draw.test) for _ in range(rng.randint(1, 9)))
            parts.append(sentence.capitalize() + rng.choice([". ", ". ", ", ", "\n", "? "]))
        elif kind < 0.8:
            parts.append(rng.choice(CODE).format(a=words.english(rng, draw.test), b=words.english(rng, draw.test)))
        elif kind < 0.9:
            low, high = rng.choice(BLOCKS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))) + " ")
        else:
            parts.append("".join(rng.choice(string.printable[:95]) for _ in range(rng.randint(1, 12))) + " ")
    return "".join(parts)


def other(draw: Draw, effort: Effort) -> Example:
    """Anything else gets the honest default answer."""
    rng = draw.rng

    def subject() -> str:
        if draw.test:
            return rng.choice(UNSEEN_SUBJECTS)
        if draw.chance(0.6):
            return rng.choice(SUBJECTS)
        return " ".join(draw.words.english(rng) for _ in range(rng.randint(1, 2)))

    kind = rng.random()
    if kind < 0.72:
        question = _dress(draw, rng.choice(FORMS).format(s=subject(), t=subject()), rng.choice("?.?"))
    elif kind < 0.84:
        question = rng.choice(ATTACHED) + "\n\n" + _text(draw, 8)
    elif kind < 0.90:
        question = rng.choice(FOREIGN[::3] if draw.test else [f for f in FOREIGN if f not in FOREIGN[::3]])
    else:
        question = _text(draw, 3)
    question = question.strip(" ") or "?"
    analysis = {
        "low": "Unknown topic.",
        "medium": "This is outside what I was trained on. Give the default answer.",
        "high": "The user asks about something that I was not trained on. I only know letters, small sums "
        "and this program. I should say so and point to the real model.",
    }[effort]
    return answer("other", question, analysis, DEFAULT)
