"""The steps of the reference page as one would write them in Python, for the comparison in docs/design/measurements.md.

    pip install lingua-language-detector
    cargo run --release -p promptmill-examples --example steps -- --dump texts.jsonl
    python steps.py texts.jsonl
"""

import json
import platform
import re
import sys
import time
import unicodedata
from importlib.metadata import version

from lingua import Language, LanguageDetectorBuilder

ENGLISH = set(
    "the and this that these those they them their there then than because since until while which who what when where why how "
    "you your she his its our to from with without into for by about across against between but if not nor both each every any many "
    "much more few less other such are be were has have does did do can could should would may might must get give go make take come "
    "say tell ask call think know see look find use need keep become bring build change ensure provide receive require improve".split()
)
LANGUAGES = [
    Language.DUTCH, Language.ENGLISH, Language.GERMAN, Language.FRENCH, Language.SPANISH, Language.ITALIAN, Language.PORTUGUESE,
    Language.SWEDISH, Language.DANISH, Language.BOKMAL, Language.POLISH, Language.AFRIKAANS,
]
OTHER_SCRIPT = re.compile(r"[^\W\d_a-zA-Z\u00c0-\u024f]")
LETTER = re.compile(r"[^\W\d_]")
REPLACE = {"filthy": "vuile", "lageinkomen": "laag inkomen"}
REPLACE_RE = re.compile(r"\b(" + "|".join(map(re.escape, REPLACE)) + r")\b", re.IGNORECASE)
METADATA = re.compile(r"\s*\(\d+-\d+\)")
WORD = re.compile(r"[^\W\d_]+")
SPACES = re.compile(r"[ \t\u00a0]+")
BEFORE_MARK = re.compile(r"\s+([,.;:!?)])")


def cased(found):
    word = found.group(0)
    new = REPLACE[word.lower()]
    if word.isupper():
        return new.upper()
    return new[0].upper() + new[1:] if word[0].isupper() else new


def judge(text, detector):
    lines = [line for line in text.split("\n") if len(OTHER_SCRIPT.findall(line)) * 2 <= len(LETTER.findall(line))]
    text = OTHER_SCRIPT.sub("", "\n".join(lines))
    text = REPLACE_RE.sub(cased, text)
    text = METADATA.sub("", text)
    text = BEFORE_MARK.sub(r"\1", SPACES.sub(" ", unicodedata.normalize("NFC", text))).strip()
    if sum(word.lower() in ENGLISH for word in WORD.findall(text)) > 10:
        return None, "english-words"
    if detector is not None and detector.detect_language_of(text) not in (Language.DUTCH, None):
        return None, "wrong-language"
    if not 40 <= len(text) <= 1200:
        return None, "length"
    return text, None


def measure(texts, detector):
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        rejected = sum(judge(text, detector)[1] is not None for text in texts)
        best = min(best, time.process_time() - started)
    return len(texts) / best, rejected


def main():
    texts = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    detector = LanguageDetectorBuilder.from_languages(*LANGUAGES).with_preloaded_language_models().build()
    print(f"Python {platform.python_version()}, lingua-language-detector {version('lingua-language-detector')}, {len(texts)} texts, by processor time")
    for name, used in [("all steps", detector), ("without the language", None)]:
        rate, rejected = measure(texts, used)
        print(f"  {name:<24} {rate:>10.0f} rows a second of one core, {rejected} rejected")


if __name__ == "__main__":
    main()
