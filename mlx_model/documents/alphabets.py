"""What people write with, to tell text from garbage: the letters of languages, signs, frequent ideographs."""

# ruff: noqa: RUF001  # letters that look alike are the point

_LATIN_LANGUAGES = (
    "àâæçéèêëîïôœùûüÿ",  # French
    "äöüßéèàêç",  # German
    "áéíñóúüç",  # Spanish
    "ãõáâàçéêíóôúü",  # Portuguese
    "àèéìíîòóùú",  # Italian
    "àçèéíïòóúü",  # Catalan
    "éëïóöüèáúê",  # Dutch
    "æøåéèêóòôäöü",  # Danish, Norwegian
    "åäöéàüšž",  # Swedish, Finnish
    "äöõüšž",  # Estonian
    "áðéíóúýþæö",  # Icelandic
    "ąćęłńóśźżé",  # Polish
    "áčďéěíňóřšťúůýžöü",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "ăâîșțşţ",  # Romanian
    "čćđšž",  # Croatian, Slovene
    "çğıİöşüâîû",  # Turkish
    "ąčęėįšųūž",  # Lithuanian
    "āčēģīķļņšūž",  # Latvian
    "ĉĝĥĵŝŭ",  # Esperanto
    "ċġħżàèìòù",  # Maltese
    "àáâãèéêìíòóôõùúýăđơưĩũ\u0300\u0301\u0303\u0309\u0323",  # Vietnamese
)
# The most frequent letters, some six in ten of any text; the others.
_OTHER_LANGUAGES = (
    ("оеаинтсрвл", "бгдёжзйкмпуфхцчшщъыьэюя"),  # Russian, Bulgarian
    ("оаиніветрс", "бгґдєжзїйклмпуфхцчшщьюя"),  # Ukrainian
    ("аоніелрстк", "бвгдёжзймпуўфхцчшыьэюя"),  # Belarusian
    ("аиоенртсју", "бвгдђжзклљмњпћфхцчџш"),  # Serbian
    ("аоиетнрсву", "бгдѓжзѕјклљмњпќфхцчџш"),  # Macedonian
    ("αοιετσνηυρςά", "βγδζθκλμξπφχψωέήίόύώϊϋΐΰ"),  # Greek
    ("יוהלאתמרבש", "גדזחטךכםןנסעףפץצק"),  # Hebrew
    ("اليمونترب", "".join(map(chr, (*range(0x621, 0x653), 0x67E, 0x686, 0x698, 0x6A9, 0x6AF, 0x6CC)))),  # Arabic
    ("านรอกเงมย่วัลด้สทตะ", "".join(map(chr, range(0xE01, 0xE5C)))),  # Thai
)
ALPHABETS: tuple[tuple[frozenset[str], frozenset[str] | None], ...] = tuple(
    (frozenset(letters), None) for letters in _LATIN_LANGUAGES
) + tuple((frozenset(frequent + others), frozenset(frequent)) for frequent, others in _OTHER_LANGUAGES)

SIGNS = frozenset("«»‹›„“”‚‘’…–—·•§°©®™¿¡€£¥½¼¾²³×±µºª№†¶\xa0\xad")
WITHIN_WORDS = frozenset("’‘·–—…\xa0\xad")
NEVER_AFTER_LETTERS = frozenset("€£¥¿¡±½¼¾„§¶•‚")
BOXES = range(0x2500, 0x25A0)
COMMON_IDEOGRAPHS = frozenset(
    "的一是不了在人有我他这这個们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多"
    "经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实这個們來為國說時會對於著過發後裡種經麼學現當沒動"
    "還進樣開從實與与及等第月日新文本件"
)
"""The most frequent ideographs of Chinese, in both scripts: a third of any text."""
COMMON_SYLLABLES = frozenset("이다는에의을를은가고하지한로도기어리사인아그나시자일서대해정보수부과니으게")
"""The most frequent syllables of Korean: two fifths of any text."""
