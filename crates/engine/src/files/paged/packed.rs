//! Numbers of 32 bits that are packed by differences of more bits, as DuckDB does in columns that hold both very small and very
//! large ones. Parquet wants the differences in 32 bits too, and its usual readers take such a page for a damaged one.

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::Page;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use super::header::varint;

/// Whether a column may hold differences that 32 bits do not.
pub(in crate::files) fn is_wide(column: &ColumnChunkMetaData) -> bool {
    let span = match column.statistics() {
        Some(Statistics::Int32(found)) => found.max_opt().zip(found.min_opt()).map(|(most, least)| i64::from(*most) - i64::from(*least)),
        _ => None,
    };
    column.column_type() == Type::INT32
        && column.encodings().any(|encoding| encoding == Encoding::DELTA_BINARY_PACKED)
        && span.is_none_or(|span| span > i64::from(i32::MAX))
}

/// A page of such a column with its numbers as they are.
pub(super) fn as_plain(page: Page, column: &ColumnChunkMetaData) -> Result<Page> {
    let is_packed = page.is_data_page() && page.encoding() == Encoding::DELTA_BINARY_PACKED;
    if !is_packed || !is_wide(column) {
        return Ok(page);
    }
    let descr = column.column_descr();
    Ok(match page {
        Page::DataPage { buf, num_values, def_level_encoding, rep_level_encoding, statistics, .. } => {
            // Each with its length before it.
            let levels = [descr.max_rep_level(), descr.max_def_level()].into_iter().filter(|most| *most > 0);
            let start = levels.into_iter().try_fold(0_usize, |start, _| {
                let length = buf.get(start..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(ends)?;
                Ok::<_, ParquetError>(start + 4 + u32::from_le_bytes(*length) as usize)
            })?;
            let buf = unpacked(&buf, start)?;
            Page::DataPage { buf, num_values, encoding: Encoding::PLAIN, def_level_encoding, rep_level_encoding, statistics }
        }
        Page::DataPageV2 { buf, num_values, num_nulls, num_rows, def_levels_byte_len, rep_levels_byte_len, statistics, .. } => {
            let buf = unpacked(&buf, (def_levels_byte_len + rep_levels_byte_len) as usize)?;
            Page::DataPageV2 {
                buf,
                num_values,
                encoding: Encoding::PLAIN,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed: false,
                statistics,
            }
        }
        other => other,
    })
}

fn ends() -> ParquetError {
    ParquetError::EOF("a page ends before its values".to_owned())
}

/// The bytes of a page, whose values begin so far in, with the values as they are.
fn unpacked(page: &Bytes, start: usize) -> Result<Bytes> {
    let (levels, packed) = page.split_at_checked(start).ok_or_else(ends)?;
    let mut plain = levels.to_vec();
    numbers(packed, &mut plain)?;
    Ok(plain.into())
}

/// Adds packed numbers, of four bytes each. What they count is reckoned as the writers do, round the ends of the numbers.
fn numbers(mut packed: &[u8], to: &mut Vec<u8>) -> Result<()> {
    let mut byte = || {
        let (byte, rest) = packed.split_first().ok_or_else(ends)?;
        packed = rest;
        Ok::<_, ParquetError>(*byte)
    };
    let mut number = || varint(70, &mut byte)?.ok_or_else(ends);
    let (block, parts, mut left, first) = (number()? as usize, number()? as usize, number()? as usize, signed(number()?));
    if parts == 0 || block == 0 || !block.is_multiple_of(parts) || !(block / parts).is_multiple_of(8) {
        return Err(ParquetError::General("a page of packed numbers begins with no header".to_owned()));
    }
    let mut value = first;
    if left > 0 {
        to.extend((value as i32).to_le_bytes());
        left -= 1;
    }
    while left > 0 {
        let least = signed(varint(70, &mut byte)?.ok_or_else(ends)?);
        let widths = (0..parts).map(|_| byte()).collect::<Result<Vec<u8>>>()?;
        for width in widths.into_iter().map(usize::from) {
            if left == 0 {
                break;
            }
            if width > 64 {
                return Err(ParquetError::General(format!("numbers packed in {width} bits")));
            }
            let bits = (0..block / parts * width / 8).map(|_| byte());
            // The last numbers of a page may be all that is there of their part.
            let bits: Vec<u8> = bits.take_while(Result::is_ok).collect::<Result<_>>()?;
            for place in 0..left.min(block / parts) {
                let bit = |at: usize| bits.get(at / 8).map(|byte| u64::from(byte >> (at % 8) & 1)).ok_or_else(ends);
                let over = (0..width).try_fold(0, |over, of| Ok::<_, ParquetError>(over | bit(place * width + of)? << of))?;
                value = value.wrapping_add(least).wrapping_add(over as i64);
                to.extend((value as i32).to_le_bytes());
            }
            left -= left.min(block / parts);
        }
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(packed: &[u8]) -> Result<Vec<i32>> {
        let mut bytes = Vec::new();
        numbers(packed, &mut bytes)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
    }

    #[test]
    fn differences_may_have_more_bits_than_the_numbers() {
        // The least, the greatest, nothing and one, in blocks of 8 numbers with one part each, of 33 bits.
        let numbers = [i32::MIN, i32::MAX, 0, 1];
        let differences = [i64::from(u32::MAX), -i64::from(i32::MAX), 1];
        let least = -i64::from(i32::MAX);
        let zigzag = |number: i64| ((number << 1) ^ (number >> 63)) as u64;
        let put = |mut number: u64, to: &mut Vec<u8>| {
            while number >= 0x80 {
                to.push(number as u8 | 0x80);
                number >>= 7;
            }
            to.push(number as u8);
        };
        let mut packed = vec![8, 1, 4];
        put(zigzag(numbers[0].into()), &mut packed);
        put(zigzag(least), &mut packed);
        packed.push(33);
        let bits =
            differences.iter().enumerate().fold(0_u128, |bits, (place, difference)| bits | ((difference - least) as u128) << (33 * place));
        packed.extend(&bits.to_le_bytes()[..13]);
        assert_eq!(read(&packed).expect("numbers"), numbers);
        for end in 0..packed.len() - 1 {
            assert!(read(&packed[..end]).is_err(), "{end} of {} bytes", packed.len());
        }
        assert!(read(&[8, 0, 4, 0]).is_err() && read(&[7, 1, 4, 0]).is_err());
        assert!(read(&[8, 1, 0, 0]).expect("no numbers").is_empty());
    }
}
