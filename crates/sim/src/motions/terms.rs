//! Fills in the templates: the words that stay the same within a motion and those drawn at every use.

use std::fmt::Write as _;

use super::draw::Draw;
use super::phrases;
use super::topics::Topic;

/// What stays the same within one motion.
pub(super) struct Terms {
    pub(super) topic: &'static Topic,
    year: i32,
    coming_year: i32,
    place: &'static str,
    other_place: &'static str,
    region: &'static str,
    organisation: &'static str,
    other_organisation: &'static str,
    group: &'static str,
    other_group: &'static str,
    subject: &'static str,
    /// "37%" or "37 procent"
    percent_sign: bool,
}

impl Terms {
    pub(super) fn draw(draw: &mut Draw, topic: &'static Topic, year: i32) -> Self {
        let (place, other_place) = two(draw, phrases::PLACES);
        let (organisation, other_organisation) = two(draw, topic.organisations);
        let (group, other_group) = two(draw, topic.groups);
        Self {
            topic,
            year,
            coming_year: year + 2 + draw.below(5) as i32,
            place,
            other_place,
            region: draw.pick(phrases::REGIONS),
            organisation,
            other_organisation,
            group,
            other_group,
            subject: draw.pick(topic.subjects),
            percent_sign: draw.chance(60),
        }
    }

    /// Fills in a template; the language is described in `topics`.
    pub(super) fn render(&self, template: &str, draw: &mut Draw, out: &mut String) {
        let mut rest = template;
        // Both marks are ASCII, so that every cut falls between characters.
        while let Some(at) = rest.bytes().position(|byte| byte == b'{' || byte == b'[') {
            let (text, marked) = rest.split_at(at);
            out.push_str(text);
            let close = if marked.starts_with('{') { '}' } else { ']' };
            let Some(end) = marked.find(close) else {
                debug_assert!(false, "unclosed mark in {template:?}");
                break;
            };
            let inner = &marked[1..end];
            if close == '}' {
                self.fill(inner, draw, out);
            } else {
                let count = 1 + inner.bytes().filter(|byte| *byte == b'|').count();
                let choice = draw.below(count);
                self.render(inner.split('|').nth(choice).unwrap_or_default(), draw, out);
            }
            rest = &marked[end + 1..];
        }
        out.push_str(rest);
    }

    fn fill(&self, name: &str, draw: &mut Draw, out: &mut String) {
        // Writing to a String cannot fail, so that the results are dropped.
        let _ = match name {
            "P" => out.write_str(self.place),
            "Q" => out.write_str(self.other_place),
            "R" => out.write_str(self.region),
            "O" => out.write_str(self.organisation),
            "o" => out.write_str(self.other_organisation),
            "G" => out.write_str(self.group),
            "g" => out.write_str(self.other_group),
            "T" => out.write_str(self.subject),
            "Y" => write!(out, "{}", self.coming_year),
            "J" => write!(out, "{}", self.year + 1),
            "y" => write!(out, "{}", self.year - 1 - draw.below(6) as i32),
            "k" => out.write_str(draw.pick(phrases::NUMBERS)),
            "x" => out.write_str(draw.pick(phrases::SHARES)),
            "%" => {
                let sign = if self.percent_sign { "%" } else { " procent" };
                write!(out, "{}{sign}", draw.between(8, 64))
            }
            "n" => {
                let number = if draw.chance(45) { draw.between(12, 98) * 10 } else { draw.between(11, 98) * 100 };
                thousands(number, out)
            }
            "N" => thousands(draw.between(12, 480) * 1000, out),
            "m" => match draw.weighted(&[70, 20, 10]) {
                0 => write!(out, "{} miljoen euro", draw.between(2, 95)),
                1 => write!(out, "{} miljoen euro", draw.between(10, 95) * 10),
                _ => write!(out, "{},{} miljard euro", draw.between(1, 3), draw.between(1, 9)),
            },
            "q" => {
                self.render(draw.pick(phrases::TERMS), draw, out);
                Ok(())
            }
            _ => {
                debug_assert!(false, "unknown name {name:?} in a template");
                Ok(())
            }
        };
    }
}

/// Two different ones.
fn two(draw: &mut Draw, from: &[&'static str]) -> (&'static str, &'static str) {
    let first = draw.below(from.len());
    let second = (first + draw.between(1, from.len() - 1)) % from.len();
    (from[first], from[second])
}

/// "980", "1.200", "48.000"
fn thousands(number: usize, out: &mut String) -> std::fmt::Result {
    if number < 1000 { write!(out, "{number}") } else { write!(out, "{}.{:03}", number / 1000, number % 1000) }
}

#[cfg(test)]
mod tests {
    use super::super::topics::TOPICS;
    use super::*;

    fn everywhere() -> impl Iterator<Item = (&'static str, &'static str)> {
        let topics = TOPICS.iter().flat_map(|topic| {
            let requests = topic.requests.iter().flat_map(|(title, request)| [*title, *request]);
            let lists = [topic.facts, topic.considerations, topic.subjects, topic.groups, topic.organisations];
            requests.chain(lists.into_iter().flatten().copied()).map(|template| (topic.name, template))
        });
        let general = [
            phrases::FACTS.all,
            phrases::CONSIDERATIONS.all,
            phrases::VIEWS.all,
            phrases::OPENINGS,
            phrases::CLOSINGS.all,
            phrases::SECOND_REQUESTS.all,
            phrases::TERMS,
        ];
        topics.chain(general.into_iter().flatten().map(|template| ("general", *template)))
    }

    #[test]
    fn templates_are_sound() {
        for (topic, template) in everywhere() {
            let mut depth = 0;
            let mut rest = template;
            while let Some(at) = rest.find(['{', '}', '[', ']']) {
                match rest.as_bytes()[at] {
                    b'[' => depth += 1,
                    b']' => depth -= 1,
                    b'{' => {
                        assert_eq!(&rest[at + 2..at + 3], "}", "{topic}: {template}");
                        let name = &rest[at + 1..at + 2];
                        assert!("PQROoGgTYJykx%nNmq".contains(name), "{topic}: {template}");
                    }
                    _ => {}
                }
                assert!((0..=1).contains(&depth), "{topic}: alternatives do not nest: {template}");
                rest = &rest[at + 1..];
            }
            assert_eq!(depth, 0, "{topic}: {template}");
            assert!(!template.contains("  ") && !template.ends_with(['.', ';', ',']), "{topic}: {template}");
        }
    }

    #[test]
    fn general_phrases_know_where_they_fit() {
        let lists = [phrases::FACTS, phrases::CONSIDERATIONS, phrases::VIEWS, phrases::CLOSINGS, phrases::SECOND_REQUESTS];
        for list in lists {
            let local = |template: &str| ["{P}", "{Q}", "{R}"].iter().any(|name| template.contains(name));
            assert!(list.anywhere > 0);
            assert!(!list.fitting(true).iter().any(|template| local(template)), "{list:?}");
            assert!(list.all[list.anywhere..].iter().all(|template| local(template)), "{list:?}");
        }
    }

    #[test]
    fn topics_have_enough() {
        assert!(TOPICS.len() >= 25);
        let names: std::collections::HashSet<_> = TOPICS.iter().map(|topic| topic.name).collect();
        assert_eq!(names.len(), TOPICS.len());
        for topic in TOPICS.iter() {
            let lists = [topic.facts.len(), topic.considerations.len(), topic.requests.len()];
            assert!(lists.iter().all(|length| *length >= 5), "{}: {lists:?}", topic.name);
            assert!(topic.groups.len() >= 2 && topic.organisations.len() >= 2, "{}", topic.name);
            assert!(topic.facts.len() + phrases::FACTS.all.len() < 32, "{}: more than the mask holds", topic.name);
            assert!(topic.considerations.len() + phrases::CONSIDERATIONS.all.len() < 32, "{}", topic.name);
            // A title and the body say the same place, region, group and year; other names are drawn twice.
            for (title, _) in topic.requests {
                let names = title.split('{').skip(1).map(|part| &part[..1]);
                assert!(names.clone().all(|name| "PQRGY".contains(name)), "{}: {title}", topic.name);
                assert!(!title.contains('['), "{}: {title}", topic.name);
            }
        }
    }

    #[test]
    fn numbers_are_spelled_the_dutch_way() {
        for (number, text) in [(980, "980"), (1_200, "1.200"), (48_000, "48.000"), (5_050, "5.050")] {
            let mut out = String::new();
            thousands(number, &mut out).expect("a String takes everything");
            assert_eq!(out, text);
        }
    }
}
