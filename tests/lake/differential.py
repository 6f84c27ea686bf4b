"""Folders of files as other programs write them, and whether promptmill reads in them what DuckDB reads.

    python differential.py BINARY [--first SEED] [--folders N] [--keep FOLDER] [--also SEED,…]

Each seed gives one folder: Parquet, CSV, JSON lines or Arrow files by pyarrow, Polars and DuckDB, of random types, codecs, page
versions, row groups and nulls, with columns that move, appear, or get a wider type from file to file, flat or in Hive
partitions, known by one column, by a UUID or by two columns together. Compared with what DuckDB says are the rows of
`promptmill sql … FROM source`, and those of a sink after a run of the built-in model.
One line of JSON at the end; what differs stands before it, with the seed that repeats it.
"""

import argparse
import base64
import csv
import datetime as dt
import decimal
import gzip
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import uuid
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

WORDS = ["verzoekt", "de regering", "naïve", "Zürich", "line\nbreak", 'a "quote"', "tab\there", "日本", "", " ", "100%", "{{ x }}", "a/b", "😀"]
CODECS = ["NONE", "SNAPPY", "GZIP", "ZSTD", "LZ4", "BROTLI"]
PARTITIONS = {
    "year": ["2023", "2024", "2025"],
    "place": ["Den Haag", "'s-Hertogenbosch", "a=b", "50%", "Zürich"],
    "day": ["2024-01-31", "2024-02-29"],
}


def texts(rng, rows):
    return [rng.choice([None, "", " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))]) for _ in range(rows)]


def numbers(rng, rows, low, high):
    return [rng.choice([None, low, high, rng.randint(low, high)]) for _ in range(rows)]


def floats(rng, rows):
    return [rng.choice([None, 0.0, -1.5, 1e300, math.inf, math.nan, rng.random()]) for _ in range(rows)]


def narrow(rng, rows):
    return [rng.choice([None, 0.0, -1.5, 0.25, rng.randint(-1000, 1000) / 8]) for _ in range(rows)]


def moments(rng, rows):
    return [rng.choice([None, dt.datetime(1969, 7, 20, 20, 17, 40), dt.datetime(2024, 2, 29, 23, 59, 59, 123000)]) for _ in range(rows)]


def days(rng, rows):
    return [rng.choice([None, dt.date(1900, 1, 1), dt.date(2024, 2, 29)]) for _ in range(rows)]


def amounts(rng, rows):
    return [rng.choice([None, decimal.Decimal(rng.randint(-99999, 99999)) / 100]) for _ in range(rows)]


# What a column can be: the types that it may have from file to file, each no narrower than the one before, and its values.
KINDS = {
    "tiny": ([pa.int8(), pa.int16()], lambda rng, rows: numbers(rng, rows, -128, 127)),
    "short": ([pa.int16(), pa.int32()], lambda rng, rows: numbers(rng, rows, -(2**15), 2**15 - 1)),
    "int": ([pa.int32(), pa.int64()], lambda rng, rows: numbers(rng, rows, -(2**31), 2**31 - 1)),
    "long": ([pa.int64()], lambda rng, rows: numbers(rng, rows, -(2**63), 2**63 - 1)),
    "unsigned": ([pa.uint32(), pa.int64()], lambda rng, rows: numbers(rng, rows, 0, 2**32 - 1)),
    "float": ([pa.float32(), pa.float64()], narrow),
    "double": ([pa.float64()], floats),
    "amount": ([pa.decimal128(9, 2), pa.decimal128(18, 2)], amounts),
    "flag": ([pa.bool_()], lambda rng, rows: [rng.choice([None, True, False]) for _ in range(rows)]),
    "text": ([pa.string(), pa.large_string()], texts),
    "category": ([pa.dictionary(pa.int32(), pa.string()), pa.string()], texts),
    "bytes": ([pa.binary(), pa.large_binary()], lambda rng, rows: [rng.choice([None, b"", b"\x00\xff", b"abc"]) for _ in range(rows)]),
    "born": ([pa.date32()], days),
    "moment_ms": ([pa.timestamp("ms"), pa.timestamp("us")], moments),
    "moment_utc": ([pa.timestamp("us", tz="UTC")], moments),
    "list": ([pa.list_(pa.int64())], lambda rng, rows: [rng.choice([None, [], [1, None, 3]]) for _ in range(rows)]),
    "words": ([pa.list_(pa.string())], lambda rng, rows: [rng.choice([None, [], texts(rng, 2)]) for _ in range(rows)]),
    "struct": (
        [pa.struct([("name", pa.string()), ("size", pa.int32())])],
        lambda rng, rows: [rng.choice([None, {"name": "x", "size": 1}, {"name": None, "size": None}]) for _ in range(rows)],
    ),
}
# Polars and DuckDB have types of their own for these, or none.
ONLY_ARROW = {"category", "tiny", "unsigned"}
# What some columns mean beyond their types. They are drawn apart, so that seeds of before give the folders of before.
MEANT = {
    "uuid": (pa.uuid(), lambda rng: rng.choice([None, uuid.UUID(int=rng.getrandbits(128)).bytes])),
    "json": (pa.json_(), lambda rng: rng.choice([None, '{"a": [1, "x"]}', "[]", "12"])),
}
# The kinds of columns that files without types have.
IN_TEXT = ["int", "long", "float", "amount", "flag", "text", "born", "moment_ms"]
IN_JSON = ["int", "long", "float", "flag", "text", "born", "list", "words", "struct"]
# Parts of keys that would run together if they were only joined.
PARTS = ["a", "a|b", 'a","b', "-", "a\\", "é", "b|", "|b"]


class Folder:
    """One folder of files, made from a seed."""

    def __init__(self, seed, path):
        self.rng = rng = random.Random(seed)
        self.path = path
        # What came to the generator later has a generator of its own.
        self.more = more = random.Random(f"more {seed}")
        self.format = more.choice(["parquet"] * 5 + ["csv", "jsonl", "arrow"])
        self.key = more.choice(["id"] * 3 + ["both"])
        self.has_uuids = self.format in ("parquet", "arrow") and more.random() < 0.15
        meant = more.sample(sorted(MEANT), more.choice([0, 0, 1, 2])) if self.format in ("parquet", "arrow") else []
        self.meant = {f"{kind} meant": kind for kind in meant}
        self.dialect = {"delim": more.choice([",", ";", "\t", "|"]), "packed": more.choice(["", "", ".gz"])}
        known = {"csv": IN_TEXT, "jsonl": IN_JSON}.get(self.format, sorted(KINDS))
        kinds = rng.sample(known, rng.randint(2, 6))
        self.columns = {f"{kind}{rng.choice(['', '_2', ' value', '-x', '.y', 'É'])}": kind for kind in kinds}
        self.partition_by = rng.sample(sorted(PARTITIONS), rng.choice([0, 0, 1, 2]))
        self.key_type = rng.choice([pa.int64(), pa.string(), pa.int32(), pa.large_string()])
        self.next_key = 0
        self.drifts = rng.random() < 0.6
        for number in range(rng.randint(1, 5)):
            self.file(number)
        if rng.random() < 0.5:
            for name in ["_SUCCESS", ".hidden.parquet", "part-0.parquet.crc", "_committed_12"]:
                (path / name).write_bytes(b"" if name.startswith("_") else b"not parquet")

    def table(self, rows):
        rng = self.rng
        keys = list(range(self.next_key, self.next_key + rows))
        self.next_key += rows
        if pa.types.is_string(self.key_type) or pa.types.is_large_string(self.key_type):
            keys = [f"k {key:04}" for key in keys]
        arrays = {"id": pa.array(keys, self.key_type)}
        if self.has_uuids:
            storage = pa.array([uuid.UUID(int=number).bytes for number in range(self.next_key - rows, self.next_key)], pa.binary(16))
            arrays["id"] = pa.ExtensionArray.from_storage(pa.uuid(), storage)
        if self.key == "both":
            numbers = range(self.next_key - rows, self.next_key)
            arrays["part"] = pa.array([PARTS[number % len(PARTS)] for number in numbers], pa.string())
            arrays["number"] = pa.array([number // len(PARTS) for number in numbers], pa.int32())
        for name, kind in self.meant.items():
            column_type, value = MEANT[kind]
            storage = pa.array([value(self.more) for _ in range(rows)], column_type.storage_type)
            arrays[name] = pa.ExtensionArray.from_storage(column_type, storage)
        arrays["body"] = pa.array([f"Motie {key}. De Kamer verzoekt de regering om plan {key} uit te voeren." for key in keys])
        for name, kind in self.columns.items():
            if self.drifts and rng.random() < 0.2 and self.next_key > rows:
                continue
            types, values = KINDS[kind]
            column_type = rng.choice(types) if self.drifts else types[0]
            arrays[name] = pa.array(values(rng, rows), types[0]).cast(column_type)
        names = list(arrays)
        if self.drifts:
            rng.shuffle(names)
        return pa.table({name: arrays[name] for name in names})

    def file(self, number):
        rng = self.rng
        folder = self.path
        for name in self.partition_by:
            value = rng.choice(PARTITIONS[name] + (["__HIVE_DEFAULT_PARTITION__"] if rng.random() < 0.1 else []))
            folder = folder / f"{name}={urllib.parse.quote(value, safe=' ') if value[0] != '_' else value}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = self.table(rng.choice([0, 1, 7, 60]) if number else rng.choice([1, 7, 60]))
        file = folder / f"part {number}.parquet"
        if self.format != "parquet":
            return getattr(self, f"write_{self.format}")(rows, folder, number)
        only_arrow = ONLY_ARROW & set(self.columns.values()) or self.meant or self.has_uuids
        writers = ["arrow", "arrow"] if only_arrow else ["arrow", "polars", "duckdb"]
        if (self.meant or self.has_uuids) and not ONLY_ARROW & set(self.columns.values()):
            writers = ["arrow", "duckdb"]
        codec = rng.choice(CODECS)
        match rng.choice(writers):
            case "arrow":
                pq.write_table(
                    rows,
                    file,
                    compression=codec,
                    data_page_version=rng.choice(["1.0", "2.0"]),
                    row_group_size=rng.choice([1, 10, 1000]),
                    use_dictionary=rng.random() < 0.7,
                    write_statistics=rng.random() < 0.7,
                    store_schema=rng.random() < 0.7,
                    version=rng.choice(["2.4", "2.6"]),
                )
            case "polars":
                codec = "uncompressed" if codec == "NONE" else codec.lower()
                pl.from_arrow(rows).write_parquet(file, compression=codec, row_group_size=rng.choice([10, 1000]))
            case "duckdb":
                codec = {"NONE": "uncompressed", "LZ4": "lz4_raw"}.get(codec, codec.lower())
                version = rng.choice(["V1", "V2"])
                duckdb.sql(f"COPY rows TO '{quoted(file)}' (FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version})")


    def write_csv(self, rows, folder, number):
        file = folder / f"part {number}.csv{self.dialect['packed']}"
        session = duckdb.connect()
        session.execute("SET TimeZone = 'UTC'")
        if self.more.random() < 0.5:
            session.register("rows", rows)
            quotes = self.more.choice(["", ", FORCE_QUOTE *"])
            how = f"FORMAT csv, HEADER, DELIMITER '{self.dialect['delim']}'{quotes}"
            packing = ", COMPRESSION gzip" if self.dialect["packed"] else ""
            session.execute(f"COPY rows TO '{quoted(file)}' ({how}{packing})")
            return
        opened = gzip.open if self.dialect["packed"] else open
        with opened(file, "wt", encoding=self.more.choice(["utf-8", "utf-8-sig"]), newline="") as text:
            ends = self.more.choice(["\n", "\r\n"])
            how = self.more.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
            writer = csv.writer(text, delimiter=self.dialect["delim"], lineterminator=ends, quoting=how)
            writer.writerow(rows.column_names)
            for row in rows.to_pylist():
                writer.writerow(["" if value is None else value for value in row.values()])

    def write_jsonl(self, rows, folder, number):
        file = folder / f"part {number}.jsonl{self.dialect['packed']}"
        opened = gzip.open if self.dialect["packed"] else open
        leaves_out = self.more.random() < 0.5
        with opened(file, "wt", encoding="utf-8") as text:
            for row in rows.to_pylist():
                row = {name: value for name, value in row.items() if value is not None or not leaves_out}
                text.write(json.dumps(row, ensure_ascii=self.more.random() < 0.5, default=str) + "\n")

    def write_arrow(self, rows, folder, number):
        writers = ["feather", "stream"] + ([] if self.meant or self.has_uuids else ["polars"])
        match self.more.choice(writers):
            case "feather":
                codec = self.more.choice(["uncompressed", "lz4", "zstd"])
                pa.feather.write_feather(rows, str(folder / f"part {number}.feather"), compression=codec, chunksize=self.more.choice([1, 7, 1000]))
            case "stream":
                with pa.ipc.new_stream(str(folder / f"part {number}.arrows"), rows.schema) as writer:
                    writer.write_table(rows, max_chunksize=10)
            case "polars":
                pl.from_arrow(rows).write_ipc(folder / f"part {number}.arrow", compression=self.more.choice(["uncompressed", "lz4", "zstd"]))


def quoted(path):
    return str(path).replace("'", "''")


def plain(value):
    """One value as both sides are compared: what it is, whatever the width of its type."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ("bytes", base64.b64encode(bytes(value)).decode())
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value
    if isinstance(value, decimal.Decimal):
        return ("decimal", str(value.normalize()))
    if isinstance(value, dt.datetime):
        value = value.astimezone(dt.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return ("moment", value.isoformat())
    if isinstance(value, dt.date):
        return ("day", value.isoformat())
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def rows_of(table, columns):
    names = [name for name in columns if name in table.column_names]
    rows = [{name: plain(value) for name, value in row.items()} for row in table.select(names).to_pylist()]
    return {json.dumps(row["id"]): row for row in rows}, len(rows)


def truth(folder):
    """What DuckDB reads, with its session in UTC."""
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    if folder.format != "parquet":
        return OTHERS[folder.format](folder, session)
    files = [str(file) for file in sorted(folder.path.rglob("*.parquet")) if not file.name.startswith((".", "_"))]
    hive = "true" if folder.partition_by else "false"
    return session.sql(
        f"SELECT * FROM read_parquet({files!r}, union_by_name = true, hive_partitioning = {hive})".replace('"', "'")
    ).to_arrow_table()


def files_of(folder):
    return [str(file) for file in sorted(folder.path.rglob("part *.*"))]


def truth_of_csv(folder, session):
    """Every value as the text that stands in the file: what each is, `as_text` compares."""
    hive = "true" if folder.partition_by else "false"
    how = f"delim = {folder.dialect['delim']!r}, quote = '\"', header = true, all_varchar = true, null_padding = false"
    files = [file for file in files_of(folder) if rows_in(file)]
    if not files:
        return None
    return session.sql(
        f"SELECT * FROM read_csv({files!r}, {how}, union_by_name = true, hive_partitioning = {hive})"
    ).to_arrow_table()


def rows_in(file):
    opened = gzip.open if file.endswith(".gz") else open
    with opened(file, "rb") as text:
        return text.read().count(b"\n") > 1


def truth_of_json(folder, session):
    hive = "true" if folder.partition_by else "false"
    files = [file for file in files_of(folder) if (gzip.open if file.endswith(".gz") else open)(file).read(1)]
    if not files:
        return None
    how = "format = 'newline_delimited', sample_size = -1, convert_strings_to_integers = false, map_inference_threshold = -1"
    return session.sql(
        f"SELECT * FROM read_json({files!r}, {how}, union_by_name = true, hive_partitioning = {hive})"
    ).to_arrow_table()


def truth_of_arrow(folder, session):
    parts = []
    for number, file in enumerate(files_of(folder)):
        opened = pa.ipc.open_stream if file.endswith(".arrows") else pa.ipc.open_file
        rows = opened(pa.memory_map(file)).read_all()
        for name, value in (pair.split("=", 1) for pair in Path(file).parts if "=" in pair):
            value = None if value == "__HIVE_DEFAULT_PARTITION__" else urllib.parse.unquote(value)
            column = pa.array([value] * rows.num_rows, pa.string())
            kind = {"year": pa.int64(), "day": pa.date32()}.get(name)
            rows = rows.append_column(name, column.cast(kind) if kind else column)
        session.register(f"part{number}", rows)
        parts.append(f"SELECT * FROM part{number}")
    return session.sql(" UNION ALL BY NAME ".join(parts)).to_arrow_table()


OTHERS = {"csv": truth_of_csv, "jsonl": truth_of_json, "arrow": truth_of_arrow}


def as_text(found, text):
    """Whether a value is what a text says, whatever type it has been given."""
    if text in (None, ""):
        return found in (None, "")
    if isinstance(found, bool):
        return str(found).lower() == text.lower()
    if isinstance(found, int):
        return str(found) == text
    if isinstance(found, float):
        return found == float(text)
    if isinstance(found, tuple) and found[0] == "moment":
        return dt.datetime.fromisoformat(found[1]) == dt.datetime.fromisoformat(text)
    if isinstance(found, tuple) and found[0] == "day":
        return found[1] == text
    return found == text


def same(found, expected, folder):
    """Whether two values are one, as far as the format of the files says what they are."""
    if folder.format == "csv" and (expected is None or isinstance(expected, str)):
        return as_text(found, expected)
    if isinstance(found, int) and isinstance(expected, tuple) and expected[0] == "decimal":
        # DuckDB's whole numbers of 128 bits.
        return decimal.Decimal(expected[1]) == found
    if folder.format == "jsonl" and isinstance(found, str) and isinstance(expected, tuple):
        return found.replace(" ", "T") == expected[1]
    return found == expected


PIPELINE = """name = "lake"

[source]
path = "in"
SOURCE

[[stages]]
use = "prompt-pack"
item = "{{ body }}"
answer = "gist"

[[stages]]
use = "llm"
model = "builtin/extractive"

[sink]
path = "out/lake"
"""


def pipeline_of(folder):
    lines = ['key = ["part", "number"]' if folder.key == "both" else 'key = "id"']
    if folder.format == "csv" and folder.dialect["delim"] != ",":
        lines.append(f"delimiter = {json.dumps(folder.dialect['delim'])}")
    return PIPELINE.replace("SOURCE", "\n".join(lines))


def difference(name, expected, found, count, folder):
    """The first thing that differs, in words; None if nothing does."""
    if count != len(found):
        return f"{name}: {count - len(found)} keys twice"
    if expected.keys() != found.keys():
        return f"{name}: {len(expected)} rows expected, {len(found)} found, for example {sorted(expected.keys() ^ found.keys())[:3]}"
    for key, row in expected.items():
        for column, value in row.items():
            if column not in found[key]:
                return f"{name}: column {column!r} is not there"
            if not same(found[key][column], value, folder):
                return f"{name}: {column!r} of row {key}: {value!r} expected, {found[key][column]!r} found"
    return None


def check(binary, seed, path):
    """What differs for this seed, or None."""
    source = path / "in"
    source.mkdir(parents=True)
    folder = Folder(seed, source)
    expected_table = truth(folder)
    if expected_table is None:
        return None
    expected, _ = rows_of(expected_table, expected_table.column_names)
    (path / "pipeline.toml").write_text(pipeline_of(folder))

    def run(*arguments):
        return subprocess.run([binary, *arguments], cwd=path, capture_output=True, text=True, timeout=300)

    ran = run("sql", "pipeline.toml", "SELECT * FROM source", "--output", "parquet", "--to", "source.parquet")
    if ran.returncode != 0:
        return f"sql: exit {ran.returncode}: {ran.stderr.strip()[:600]}"
    found, count = rows_of(pq.ParquetFile(path / "source.parquet").read(), expected_table.column_names)
    if folder.format == "csv":
        # Keys of files without types may be numbers here and texts there.
        found = {json.dumps(str(json.loads(key))): row for key, row in found.items()}
    wrong = difference("source", expected, found, count, folder)
    if wrong:
        return wrong
    ran = run("run", "pipeline.toml", "--output", "json", "--progress", "none")
    if ran.returncode not in (0, 4):
        return f"run: exit {ran.returncode}: {ran.stderr.strip()[:600]}"
    summary = json.loads(ran.stdout)
    settled = summary["rows"]["answered"]
    if settled != len(expected):
        return f"run: {settled} of {len(expected)} rows answered: {summary['rows']} {summary.get('rejections')}"
    if not expected:
        return None
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    results = session.sql(f"SELECT * FROM read_parquet('{quoted(path)}/out/lake/**/*.parquet')").to_arrow_table()
    found, count = rows_of(results, results.column_names)
    if folder.format == "csv":
        found = {json.dumps(str(json.loads(key))): row for key, row in found.items()}
    wrong = difference("results", expected, found, count, folder)
    if wrong or not (folder.has_uuids or folder.meant):
        return wrong
    # Every reader sees what columns mean.
    types = {name: str(kind) for name, kind in zip(*described(session, path))}
    for name, kind in ([("id", "uuid")] if folder.has_uuids else []) + list(folder.meant.items()):
        if name in types and types[name] != kind.upper():
            return f"results: {name!r} is {types[name]}"
    return None


def described(session, path):
    relation = session.sql(f"SELECT * FROM read_parquet('{quoted(path)}/out/lake/**/*.parquet')")
    return relation.columns, relation.types


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--first", type=int, default=0)
    arguments.add_argument("--folders", type=int, default=20)
    arguments.add_argument("--keep", type=Path, help="where folders with a difference are kept")
    arguments.add_argument("--also", default="", help="more seeds, with commas between them")
    chosen = arguments.parse_args()
    binary = str(Path(chosen.binary).resolve())
    wrong = []
    also = [int(seed) for seed in chosen.also.split(",") if seed]
    for seed in [*range(chosen.first, chosen.first + chosen.folders), *also]:
        path = Path(tempfile.mkdtemp(prefix=f"lake-{seed}-"))
        try:
            difference_found = check(binary, seed, path)
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed belongs to it
            difference_found = f"the test itself: {type(error).__name__}: {error}"
        if difference_found:
            wrong.append(seed)
            print(f"seed {seed}: {difference_found}", flush=True)
            if chosen.keep:
                shutil.move(path, chosen.keep / path.name)
        shutil.rmtree(path, ignore_errors=True)
    print(json.dumps({"folders": chosen.folders, "wrong": wrong}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
