"""What a reader of a Delta table sees, as JSON: its rows, its columns, and every version that it has had.

    python delta.py TABLE KEY [delete KEYVALUE | double KEYVALUE | restore VERSION | optimize | order | vacuum | set NAME=VALUE]...

The deeds come first. Of a version whose files VACUUM has taken away there is nothing to see: null.
"""

import json
import os
import sys

from deltalake import DeltaTable, write_deltalake

options = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
table = DeltaTable(sys.argv[1], storage_options=options)
key = sys.argv[2]
deeds = iter(sys.argv[3:])
for deed in deeds:
    if deed == "delete":
        table.delete(f"{key} = '{next(deeds)}'")
    elif deed == "double":
        write_deltalake(table, table.to_pyarrow_table(filters=[(key, "=", next(deeds))]), mode="append")
        table.update_incremental()
    elif deed == "restore":
        table.restore(int(next(deeds)))
    elif deed == "optimize":
        table.optimize.compact()
    elif deed == "order":
        table.optimize.z_order([key])
    elif deed == "vacuum":
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    elif deed == "set":
        table.alter.set_table_properties(dict([next(deeds).split("=")]))
    else:
        sys.exit(f"no deed: {deed}")
seen = {
    "name": table.metadata().name,
    "partitions": table.metadata().partition_columns,
    "columns": [field.name for field in table.schema().fields],
    "rows": table.to_pyarrow_table().to_pylist(),
    "files": len(table.file_uris()),
    "operations": [entry["operation"] for entry in reversed(table.history())],
    "versions": [],
}
for version in range(table.version() + 1):
    table.load_as_version(version)
    try:
        keys = table.to_pyarrow_table(columns=[key])[key].to_pylist()
    except FileNotFoundError:
        seen["versions"].append(None)
    else:
        seen["versions"].append([len(keys), len(set(keys))])
json.dump(seen, sys.stdout, default=str)
sys.stdout.flush()
# Without taking the interpreter apart: threads of the libraries that are still winding up abort it now and then.
os._exit(0)
