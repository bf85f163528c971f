//! The Prometheus text format: lines, labels and values.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2};

/// Splits a page into lines, without line ends and leading blanks.
pub(super) fn lines(page: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr_iter(b'\n', page).chain(std::iter::once(page.len()));
    ends.scan(0, |start, end| {
        let line = &page[*start..end];
        *start = end + 1;
        Some(skip_blanks(line.strip_suffix(b"\r").unwrap_or(line)))
    })
}

/// Returns whether any line of the page is a series, or a comment that describes one.
pub(super) fn looks_like_metrics(page: &[u8]) -> bool {
    lines(page).any(|line| {
        if line.starts_with(b"# TYPE ") || line.starts_with(b"# HELP ") {
            return true;
        }
        let name_len = line.iter().take_while(|byte| is_name_byte(**byte)).count();
        name_len > 0 && Series::parse(&line[name_len..]).is_some()
    })
}

/// Returns whether the page [has a metric](has_metric_of) with one of `prefixes`, or is blank: libraries that write
/// a metric only once it has a value leave the page of an idle server blank.
pub(super) fn is_page_of(page: &[u8], prefixes: &[&str]) -> bool {
    page.trim_ascii().is_empty() || prefixes.iter().any(|prefix| has_metric_of(page, prefix))
}

/// Returns whether the page has a metric whose name begins with `prefix`, be it only a comment that describes it.
pub(super) fn has_metric_of(page: &[u8], prefix: &str) -> bool {
    let is_own = |line: &[u8]| {
        let comment = line.strip_prefix(b"# TYPE ").or_else(|| line.strip_prefix(b"# HELP "));
        let name_len = line.iter().take_while(|byte| is_name_byte(**byte)).count();
        match comment {
            Some(comment) => comment.starts_with(prefix.as_bytes()),
            None => line.starts_with(prefix.as_bytes()) && Series::parse(&line[name_len..]).is_some(),
        }
    };
    lines(page).any(is_own)
}

/// The part of a series' line after the name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<'a> {
    pub(super) labels: Labels<'a>,
    /// Value; can be infinite or NaN.
    pub(super) value: f64,
}

impl<'a> Series<'a> {
    /// Parses `{labels} value [timestamp]`; returns `None` if `rest` has another form.
    pub(super) fn parse(rest: &'a [u8]) -> Option<Self> {
        let rest = skip_blanks(rest);
        let (labels, rest) = match rest.strip_prefix(b"{") {
            Some(inside) => inside.split_at(closing_brace(inside)?),
            None => (&[][..], rest),
        };
        let rest = skip_blanks(rest.strip_prefix(b"}").unwrap_or(rest));
        let value_len = memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
        let value = std::str::from_utf8(&rest[..value_len]).ok()?.parse().ok()?;
        Some(Self { labels: Labels(labels), value })
    }
}

/// The unparsed text between the braces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
    /// Returns the unescaped value of the label `name`; `None` if the label is absent or follows a malformed
    /// one.
    pub(super) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.0;
        loop {
            let (label, value, after) = next_label(rest)?;
            if label == name.as_bytes() {
                return Some(unescape(value));
            }
            rest = after;
        }
    }

    /// Returns the value of the label `name` as an integer.
    pub(super) fn number(self, name: &str) -> Option<u64> {
        self.get(name)?.trim().parse().ok()
    }
}

/// Splits `name = "value" , ...` into the first label's name, its value, and the rest.
fn next_label(labels: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let labels = skip_blanks(labels);
    let labels = skip_blanks(labels.strip_prefix(b",").unwrap_or(labels));
    let equals = memchr::memchr(b'=', labels)?;
    let name = labels[..equals].trim_ascii_end();
    let inside = skip_blanks(&labels[equals + 1..]).strip_prefix(b"\"")?;
    let end = closing_quote(inside)?;
    Some((name, &inside[..end], &inside[end + 1..]))
}

/// Finds the brace that ends the labels; braces within quotes do not count.
fn closing_brace(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'}', &inside[at..])?;
        if inside[at] == b'}' {
            return Some(at);
        }
        at += 1;
        at += closing_quote(&inside[at..])? + 1;
    }
}

/// Finds the quote that ends a label's value; a quote after a backslash does not count.
fn closing_quote(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn unescape(value: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(value);
    if !text.contains('\\') {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(escaped) => escaped,
                None => '\\',
            },
            plain => plain,
        });
    }
    Cow::Owned(plain)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_lf_or_crlf_and_optional_on_the_last_line() {
        let found: Vec<_> = lines(b"a 1\r\n  b 2\n\nc 3").collect();
        assert_eq!(found, [&b"a 1"[..], b"b 2", b"", b"c 3"]);
    }

    #[test]
    fn label_values_can_contain_braces_commas_and_quotes() {
        let series =
            Series::parse(br#"{ a = "x},=\"{" , b="line\nback\\" , } +1.5e1 1700000000000"#).unwrap();
        assert_eq!((series.value, series.labels.get("a").as_deref()), (15.0, Some("x},=\"{")));
        assert_eq!(series.labels.get("b").as_deref(), Some("line\nback\\"));
        assert_eq!(series.labels.get("c"), None);
    }

    #[test]
    fn truncated_series_are_rejected() {
        for cut in [&b"{a=\"x"[..], b"{a=\"x\"", b"{a=\"x\\", b"{a=\"x\"}", b"{a=\"x\"} ", b" abc", b""] {
            assert!(Series::parse(cut).is_none(), "{}", String::from_utf8_lossy(cut));
        }
    }

    #[test]
    fn page_belongs_to_whoever_names_a_metric_on_it() {
        for own in ["tgi_queue_size 1", "up 1\n# TYPE tgi_queue_size gauge", "# HELP tgi_x y", "", " \r\n"] {
            assert!(is_page_of(own.as_bytes(), &["nv_", "tgi_"]), "{own}");
        }
        for other in ["up 1", "# tgi_queue_size 1", "tgi_ <br>", "<html>tgi_queue_size 1</html>"] {
            assert!(!is_page_of(other.as_bytes(), &["tgi_"]), "{other}");
        }
    }

    #[test]
    fn html_and_binary_pages_are_not_metrics() {
        assert!(!looks_like_metrics(b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n"));
        assert!(!looks_like_metrics(&[0x1f, 0x8b, 0, 0xff, b'\n', 0xfe]));
        assert!(!looks_like_metrics(b""));
        assert!(looks_like_metrics(b"up 1\n"));
        assert!(looks_like_metrics(b"# TYPE up gauge\n"));
    }
}
