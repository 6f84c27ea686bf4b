//! What values mean beyond their Arrow type, in Parquet files: UUIDs, JSON and geometries are logical types there, which
//! every reader of the files sees; in Arrow they are extension types, which stand in the metadata of a field.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{EdgeInterpolationAlgorithm, LogicalType};
use parquet::errors::Result;
use parquet::file::metadata::FileMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::{BasicTypeInfo, SchemaDescriptor, Type, TypePtr};
use promptmill_core::meaning::{DETAILS, JSON, NAME, UUID, has};
use serde_json::{Value, json};

/// Points, lines and areas as bytes, in the form that everybody reads.
const GEOMETRY: &str = "geoarrow.wkb";
/// What the bounds of longitude and latitude are called, by Parquet and by others.
const LONGITUDE_LATITUDE: [&str; 2] = ["OGC:CRS84", "EPSG:4326"];

/// The columns of a file, with what its Parquet types say besides of their values.
pub(crate) fn columns_of(schema: &Schema, file: &FileMetaData) -> Schema {
    let of_file = file.key_value_metadata().and_then(|metadata| metadata.iter().find(|entry| entry.key == "geo")?.value.as_deref());
    let of_file: Value = of_file.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let fields = schema.fields().iter().zip(file.schema_descr().root_schema().get_fields());
    let fields = fields.map(|(field, parquet)| as_geometry(column_of(field, parquet), &of_file));
    let fields: Vec<FieldRef> = fields.collect();
    if fields.len() < schema.fields().len() { schema.clone() } else { Schema::new_with_metadata(fields, schema.metadata().clone()) }
}

/// The same, without what only Arrow's readers would see: so other readers see the columns.
pub(crate) fn columns_for_all(schema: &Schema, file: &SchemaDescriptor) -> Schema {
    let fields = schema.fields().iter().zip(file.root_schema().get_fields()).map(|(field, parquet)| {
        let is_unsaid = logical(field).is_some() && parquet.get_basic_info().logical_type_ref() != logical(field).as_ref();
        if !is_unsaid {
            return Arc::clone(field);
        }
        let mut metadata = field.metadata().clone();
        metadata.retain(|name, _| name != NAME && name != DETAILS);
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

/// How to write a file of these columns.
///
/// # Errors
/// If Parquet has no type for a column.
pub fn writer_options(schema: &SchemaRef, properties: WriterProperties) -> Result<ArrowWriterOptions> {
    let coerces = properties.coerce_types();
    let options = ArrowWriterOptions::new().with_properties(properties);
    if !has_meanings(schema) {
        return Ok(options);
    }
    let plain = ArrowSchemaConverter::new().with_coerce_types(coerces).convert(schema)?;
    let root = plain.root_schema();
    let fields = schema.fields().iter().zip(root.get_fields()).map(|(field, parquet)| type_of(field, parquet));
    let root = Type::group_type_builder(root.name()).with_fields(fields.collect::<Result<_>>()?).build()?;
    Ok(options.with_parquet_schema(SchemaDescriptor::new(Arc::new(root))))
}

/// A column with what its Parquet type says of it, and of what is inside.
fn column_of(field: &FieldRef, parquet: &Type) -> FieldRef {
    let inside =
        |field: &FieldRef, parquet: Option<&TypePtr>| parquet.map_or_else(|| Arc::clone(field), |parquet| column_of(field, parquet));
    let first = |parquet: &Type| parquet.is_group().then(|| parquet.get_fields().first().cloned()).flatten();
    let data_type = match field.data_type() {
        DataType::List(of) => DataType::List(inside(of, element(parquet).as_ref())),
        DataType::LargeList(of) => DataType::LargeList(inside(of, element(parquet).as_ref())),
        DataType::FixedSizeList(of, length) => DataType::FixedSizeList(inside(of, element(parquet).as_ref()), *length),
        DataType::Map(of, is_sorted) => DataType::Map(inside(of, first(parquet).as_ref()), *is_sorted),
        DataType::Struct(fields) if parquet.is_group() && fields.len() == parquet.get_fields().len() => {
            let fields = fields.iter().zip(parquet.get_fields()).map(|(field, parquet)| column_of(field, parquet));
            DataType::Struct(fields.collect::<Fields>())
        }
        other => other.clone(),
    };
    let mut metadata = field.metadata().clone();
    if !metadata.contains_key(NAME)
        && let Some((name, details)) = parquet.get_basic_info().logical_type_ref().and_then(extension)
    {
        metadata.insert(NAME.to_owned(), name.to_owned());
        details.map(|details| metadata.insert(DETAILS.to_owned(), details));
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_metadata(metadata))
}

/// The Parquet type of the elements of a list.
fn element(list: &Type) -> Option<TypePtr> {
    let repeated = list.is_group().then(|| list.get_fields().first()).flatten()?;
    // A list of two levels repeats the element itself.
    if repeated.is_group() && repeated.get_fields().len() == 1 {
        repeated.get_fields().first().cloned()
    } else {
        Some(Arc::clone(repeated))
    }
}

/// A column that the metadata of its file, as GeoParquet has it, calls one of geometries.
fn as_geometry(field: FieldRef, of_file: &Value) -> FieldRef {
    let Some(said) = of_file.pointer("/columns").and_then(|columns| columns.get(field.name())) else { return field };
    if said.get("encoding").and_then(Value::as_str) != Some("WKB") || field.metadata().contains_key(NAME) {
        return field;
    }
    let mut details = json!({"crs": said.get("crs").cloned().unwrap_or_else(|| LONGITUDE_LATITUDE[0].into())});
    if let Some(edges) = said.get("edges").filter(|edges| *edges != "planar") {
        details["edges"] = edges.clone();
    }
    let mut metadata = field.metadata().clone();
    metadata.extend([(NAME.to_owned(), GEOMETRY.to_owned()), (DETAILS.to_owned(), details.to_string())]);
    Arc::new(field.as_ref().clone().with_metadata(metadata))
}

/// Arrow's name for a logical type, and what it says besides.
fn extension(logical: &LogicalType) -> Option<(&'static str, Option<String>)> {
    match logical {
        LogicalType::Uuid => Some((UUID, None)),
        LogicalType::Json => Some((JSON, None)),
        LogicalType::Geometry(of) => Some((GEOMETRY, Some(json!({"crs": of.crs.as_deref().unwrap_or(LONGITUDE_LATITUDE[0])}).to_string()))),
        LogicalType::Geography(of) => {
            let edges = match of.algorithm() {
                Some(EdgeInterpolationAlgorithm::VINCENTY) => "vincenty",
                Some(EdgeInterpolationAlgorithm::THOMAS) => "thomas",
                Some(EdgeInterpolationAlgorithm::ANDOYER) => "andoyer",
                Some(EdgeInterpolationAlgorithm::KARNEY) => "karney",
                _ => "spherical",
            };
            let crs = of.crs.as_deref().unwrap_or(LONGITUDE_LATITUDE[0]);
            Some((GEOMETRY, Some(json!({"crs": crs, "edges": edges}).to_string())))
        }
        _ => None,
    }
}

/// The logical type of a column that means more than its type, if Parquet has one.
fn logical(field: &Field) -> Option<LogicalType> {
    let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_binary = matches!(field.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    match field.metadata().get(NAME)?.as_str() {
        UUID if field.data_type() == &DataType::FixedSizeBinary(16) => Some(LogicalType::Uuid),
        JSON if is_text => Some(LogicalType::Json),
        GEOMETRY if is_binary => geometry(field.metadata().get(DETAILS).map_or("", String::as_str)),
        _ => None,
    }
}

/// The logical type of a geometry; `None` if it is described in a way that Parquet does not know.
fn geometry(details: &str) -> Option<LogicalType> {
    let details: Value = if details.is_empty() { json!({}) } else { serde_json::from_str(details).ok()? };
    let crs = match details.get("crs") {
        None | Some(Value::Null) => Some("srid:0".to_owned()),
        Some(Value::String(crs)) if LONGITUDE_LATITUDE.contains(&crs.as_str()) => None,
        Some(Value::String(crs)) => Some(crs.clone()),
        Some(other) => Some(other.to_string()),
    };
    let algorithm = match details.get("edges").and_then(Value::as_str) {
        None | Some("planar") => return Some(LogicalType::geometry(crs)),
        Some("spherical") => EdgeInterpolationAlgorithm::SPHERICAL,
        Some("vincenty") => EdgeInterpolationAlgorithm::VINCENTY,
        Some("thomas") => EdgeInterpolationAlgorithm::THOMAS,
        Some("andoyer") => EdgeInterpolationAlgorithm::ANDOYER,
        Some("karney") => EdgeInterpolationAlgorithm::KARNEY,
        Some(_) => return None,
    };
    Some(LogicalType::geography(crs, Some(algorithm)))
}

/// Whether some column has a logical type that Arrow's own conversion does not give it.
pub(crate) fn has_meanings(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| says_more(field))
}

/// Whether a column, or one inside, has a logical type that Arrow's own conversion does not give it.
fn says_more(field: &Field) -> bool {
    has(field, &|field| logical(field).is_some())
}

/// The Parquet type of a column, with its logical type.
fn type_of(field: &Field, parquet: &TypePtr) -> Result<TypePtr> {
    if !says_more(field) {
        return Ok(Arc::clone(parquet));
    }
    let info = parquet.get_basic_info();
    let group = |fields: Vec<TypePtr>| group_like(parquet, info, fields);
    match field.data_type() {
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
            let repeated = &parquet.get_fields()[0];
            let element = type_of(of, &repeated.get_fields()[0])?;
            group(vec![group_like(repeated, repeated.get_basic_info(), vec![element])?])
        }
        DataType::Map(entries, _) => group(vec![type_of(entries, &parquet.get_fields()[0])?]),
        DataType::Struct(fields) => {
            group(fields.iter().zip(parquet.get_fields()).map(|(field, parquet)| type_of(field, parquet)).collect::<Result<_>>()?)
        }
        _ => {
            let length = if field.data_type() == &DataType::FixedSizeBinary(16) { 16 } else { -1 };
            let built = Type::primitive_type_builder(parquet.name(), parquet.get_physical_type())
                .with_repetition(info.repetition())
                .with_length(length)
                .with_logical_type(logical(field))
                .with_id(info.has_id().then(|| info.id()))
                .build()?;
            Ok(Arc::new(built))
        }
    }
}

/// The same group with other fields.
fn group_like(parquet: &Type, info: &BasicTypeInfo, fields: Vec<TypePtr>) -> Result<TypePtr> {
    let built = Type::group_type_builder(parquet.name())
        .with_repetition(info.repetition())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_id(info.has_id().then(|| info.id()))
        .with_fields(fields)
        .build()?;
    Ok(Arc::new(built))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn meant(name: &str, data_type: DataType, extension: &str, details: Option<&str>) -> Field {
        let mut metadata = std::collections::HashMap::from([(NAME.to_owned(), extension.to_owned())]);
        details.map(|details| metadata.insert(DETAILS.to_owned(), details.to_owned()));
        Field::new(name, data_type, true).with_metadata(metadata)
    }

    fn schema() -> SchemaRef {
        let id = || meant("id", DataType::FixedSizeBinary(16), UUID, None);
        let list = |of: Field| DataType::List(Arc::new(of));
        let pair = DataType::Struct(vec![Field::new("key", DataType::Utf8, false), id().with_name("value")].into());
        Arc::new(Schema::new(vec![
            id(),
            meant("doc", DataType::Utf8, JSON, None),
            meant("large", DataType::LargeUtf8, JSON, None),
            meant("place", DataType::Binary, GEOMETRY, Some(r#"{"crs":"OGC:CRS84"}"#)),
            meant("round", DataType::Binary, GEOMETRY, Some(r#"{"crs":"EPSG:28992","edges":"vincenty"}"#)),
            meant("own", DataType::Int8, "acme.score", Some("up to 10")),
            Field::new("ids", list(id().with_name("item")), true),
            Field::new("r", DataType::Struct(vec![id(), Field::new("n", DataType::Int32, true)].into()), true),
            Field::new("m", DataType::Map(Arc::new(Field::new("entries", pair, false)), false), true),
            Field::new("bytes", DataType::FixedSizeBinary(16), true),
        ]))
    }

    #[test]
    fn what_columns_mean_is_written_for_every_reader_and_read_from_any_writer() {
        let schema = schema();
        let arrays: Vec<ArrayRef> = schema.fields().iter().map(|field| new_null_array(field.data_type(), 2)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a batch");
        for skips_arrow in [false, true] {
            let options = writer_options(&schema, WriterProperties::builder().build()).expect("options");
            let options = options.with_skip_arrow_metadata(skips_arrow);
            let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options).expect("a writer");
            writer.write(&batch).expect("rows");
            let bytes = bytes::Bytes::from(writer.into_inner().expect("a file"));
            let read = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a reader");
            let shown = format!("{:?}", read.parquet_schema().root_schema());
            assert_eq!(shown.matches("Uuid").count(), 4, "{shown}");
            assert_eq!(shown.matches("Json").count(), 2, "{shown}");
            assert!(shown.contains("Geometry") && shown.contains("Geography") && shown.contains("VINCENTY"), "{shown}");
            let found = columns_of(read.schema(), read.metadata().file_metadata());
            for (field, found) in schema.fields().iter().zip(found.fields()) {
                let is_own = field.name() == "own" && skips_arrow;
                assert_eq!(field.metadata() == found.metadata(), !is_own, "{found:?}");
                let inside = |field: &Field| format!("{:?}", field.data_type()).matches(UUID).count();
                assert_eq!(inside(field), inside(found), "{found:?}");
            }
            assert_eq!(columns_for_all(&found, read.parquet_schema()), found);
        }
        // A file of a version that wrote it for Arrow alone.
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None).expect("a writer");
        writer.write(&batch).expect("rows");
        let read = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(writer.into_inner().expect("a file"))).expect("a reader");
        assert_eq!(read.schema().field(0).metadata(), schema.field(0).metadata());
        let seen = columns_for_all(read.schema(), read.parquet_schema());
        assert!(seen.field(0).metadata().is_empty() && !seen.field(5).metadata().is_empty(), "{seen:?}");
    }
}
