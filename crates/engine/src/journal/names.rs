//! The names in a journal's folder, wherever it is.
//!
//! A segment is named after the logs that it was made of: `00000007.parquet` of one, as on a local disk, or
//! `00000003-00000007.parquet` of a span of them, as on S3, where a log is an object for each write. A segment whose
//! span lies within that of another is a leftover: somebody sealed again what had not been seen sealed. So is a log
//! that lies within a segment.

/// A segment, by the logs that it was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Segment {
    /// Its file's name.
    pub(super) fn name(&self) -> String {
        if self.first == self.last { format!("{:08}.parquet", self.last) } else { format!("{:08}-{:08}.parquet", self.first, self.last) }
    }

    /// The segment with this name, if it is the name of one.
    fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".parquet")?;
        let (first, last) = stem.split_once('-').unwrap_or((stem, stem));
        Some(Self { first: number(first)?, last: number(last)? }).filter(|segment| segment.first <= segment.last)
    }

    /// Whether the log with this number, or all that another segment was made of, is in here.
    fn holds(&self, first: u64, last: u64) -> bool {
        self.first <= first && last <= self.last
    }
}

/// What a listing of a journal's folder means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The segments that count, in order.
    pub(super) segments: Vec<Segment>,
    /// The logs that no segment holds, in order.
    pub(super) logs: Vec<u64>,
    /// Names of files that count no longer.
    pub(super) leftovers: Vec<String>,
}

impl Contents {
    /// Reads a listing.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str> + Clone) -> Self {
        let mut all: Vec<Segment> = names.clone().into_iter().filter_map(Segment::parse).collect();
        // Wider spans first, so that one pass finds what lies within them.
        all.sort_by_key(|segment| (segment.first, std::cmp::Reverse(segment.last)));
        let mut contents = Self::default();
        for segment in all {
            match contents.segments.iter().any(|other| other.holds(segment.first, segment.last)) {
                true => contents.leftovers.push(segment.name()),
                false => contents.segments.push(segment),
            }
        }
        let mut logs: Vec<u64> = names.into_iter().filter_map(|name| number(name.strip_suffix(".log")?)).collect();
        logs.sort_unstable();
        for log in logs {
            match contents.segments.iter().any(|segment| segment.holds(log, log)) {
                true => contents.leftovers.push(self::log(log)),
                false => contents.logs.push(log),
            }
        }
        contents
    }

    /// The highest number that was ever given.
    pub(super) fn last(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.last);
        segments.chain(self.logs.iter().copied()).max().unwrap_or(0)
    }
}

/// The name of the log with this number.
pub(super) fn log(number: u64) -> String {
    format!("{number:08}.log")
}

fn number(digits: &str) -> Option<u64> {
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_a_segment_is_a_leftover() {
        let names = [
            "00000001.parquet",
            "00000002-00000005.parquet",
            "00000003-00000004.parquet",
            "00000002-00000004.parquet",
            "00000004.log",
            "00000006.log",
            "00000010.log",
            "00000007.parquet.tmp",
            "7.log",
            "notes.log",
            "00000009-00000008.parquet",
        ];
        let contents = Contents::of(names);
        assert_eq!(contents.segments.iter().map(Segment::name).collect::<Vec<_>>(), ["00000001.parquet", "00000002-00000005.parquet"]);
        assert_eq!(contents.logs, [6, 10]);
        assert_eq!(contents.leftovers, ["00000002-00000004.parquet", "00000003-00000004.parquet", "00000004.log"]);
        assert_eq!(contents.last(), 10);
    }
}
