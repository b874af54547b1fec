//! Small pieces of HTML.

use std::fmt::Write;

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A table: headings (those that begin with `#` are of numbers) and rows of HTML.
pub fn table(out: &mut String, headings: &[&str], rows: &[Vec<String>]) {
    let number = |n: usize| headings.get(n).is_some_and(|text| text.starts_with('#'));
    let class = |n: usize| if number(n) { " class=\"n\"" } else { "" };
    out.push_str("<div class=\"wide\"><table><thead><tr>");
    for (n, heading) in headings.iter().enumerate() {
        let text = escape(heading.trim_start_matches('#'));
        let _ = write!(out, "<th{}>{text}</th>", class(n));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (n, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{cell}</td>", class(n));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// A bar for a share, in a colour class.
pub fn bar(share: f64, class: &str) -> String {
    let width = (share * 12.0).clamp(0.0, 12.0);
    format!("<span class=\"bar {class}\" style=\"width:{width:.2}rem\"></span>")
}

/// A share in percent.
pub fn percent(part: u64, of: u64) -> String {
    format!("{:.1} %", share(part, of) * 100.0)
}

/// A share; 0 of nothing.
pub fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

/// Nanoseconds as milliseconds.
pub fn millis(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_guest_is_markup() {
        assert_eq!(
            escape("<a b=\"c\">&\u{1b}"),
            "&lt;a b=&quot;c&quot;&gt;&amp;\u{fffd}"
        );
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(0, 0), "0.0 %");
    }
}
