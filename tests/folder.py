"""What DuckDB, pyarrow and Polars read in a bare folder, as JSON: for each of them that is installed, its rows.

    python folder.py FOLDER
"""

import json
import sys

folder = sys.argv[1]
found = {}
try:
    import duckdb

    relation = duckdb.sql("SELECT * FROM read_parquet(?)", params=[f"{folder}/**/*.parquet"])
    found["DuckDB"] = [dict(zip(relation.columns, row)) for row in relation.fetchall()]
except ImportError:
    pass
try:
    import pyarrow.dataset

    found["pyarrow"] = pyarrow.dataset.dataset(folder, partitioning="hive").to_table().to_pylist()
except ImportError:
    pass
try:
    import polars

    found["Polars"] = polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).to_dicts()
except ImportError:
    pass
json.dump(found, sys.stdout, default=str)
