"""What DuckDB reads in a sink, as JSON: its rows and its columns.

    python duck.py delta|parquet FOLDER

The extension for Delta tables comes out of the wheel `duckdb-extension-delta`, of the same version as `duckdb`; DuckDB checks
its signature.
"""

import json
import sys
from pathlib import Path

import duckdb
import duckdb_extension_delta

kind, folder = sys.argv[1:]
session = duckdb.connect()
if kind == "delta":
    (extension,) = Path(duckdb_extension_delta.__file__).parent.glob(f"extensions/v{duckdb.__version__}/delta.duckdb_extension")
    session.load_extension(str(extension))
    found = session.sql("SELECT * FROM delta_scan(?)", params=[folder])
else:
    found = session.sql("SELECT * FROM read_parquet(?, hive_partitioning = true)", params=[f"{folder}/**/*.parquet"])
rows = [dict(zip(found.columns, row)) for row in found.fetchall()]
json.dump({"columns": found.columns, "rows": rows}, sys.stdout, default=str)
