//! Items and lists as `op` shows them to people.

use sidevault_model::{Field, Item, Timestamp, Vault, printable};

use crate::commands::item::show::{is_concealed, section_of};
use crate::output::Table;

/// What stands for a concealed value without `--reveal`.
pub(super) fn hidden(item: &Item) -> String {
    format!("[use 'op item get {} --reveal' to reveal]", item.id)
}

/// The value of a field, or what stands for it.
pub(super) fn value(field: &Field, item: &Item, reveal: bool) -> String {
    if is_concealed(field) && !reveal && !field.value.is_empty() {
        hidden(item)
    } else {
        field.value.clone()
    }
}

/// A whole item.
pub(super) fn item(item: &Item, vault: &Vault, reveal: bool) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let label = format!("{label}:");
        text.push_str(format!("{label:<13}{value}").trim_end());
        text.push('\n');
    };
    line("ID", item.id.to_string());
    line("Title", printable(&item.title));
    line("Vault", format!("{} ({})", printable(&vault.name), vault.id));
    line("Created", ago(item.created_at));
    line(
        "Updated",
        format!("{} by {}", ago(item.updated_at), printable(&item.last_edited_by)),
    );
    line("Favorite", item.favorite.to_string());
    if !item.tags.is_empty() {
        line("Tags", printable(&item.tags.join(", ")));
    }
    line("Version", item.version.to_string());
    line("Category", item.category.to_string());
    let width = item
        .fields
        .iter()
        .map(|field| field.label.chars().count())
        .max()
        .unwrap_or_default()
        + 1;
    let mut section = None;
    for (index, field) in item.fields.iter().enumerate() {
        let id = field.section.as_ref().map(|section| section.id.as_str());
        if index == 0 && id.is_none() {
            text.push_str("Fields:\n");
        } else if section != id {
            text.push_str(&format!("Section {}\n", printable(section_of(item, field))));
        }
        section = id;
        let label = format!("{}:", printable(&field.label));
        text.push_str(format!("  {label:<width$}  {}", value(field, item, reveal)).trim_end());
        text.push('\n');
    }
    if !item.urls.is_empty() {
        text.push_str("URLs:\n");
        for url in &item.urls {
            let primary = if url.primary { " (primary)" } else { "" };
            text.push_str(&format!(
                "  {}: {}{primary}\n",
                printable(url.label.as_deref().unwrap_or_default()),
                printable(&url.href)
            ));
        }
    }
    if !item.files.is_empty() {
        text.push_str("Files:\n");
        for file in &item.files {
            text.push_str(&format!(
                "  {} {} ({} bytes)\n",
                file.id,
                printable(&file.name),
                file.size
            ));
        }
    }
    text
}

/// Columns under a heading.
pub(super) fn table<const N: usize>(heading: [&'static str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new(heading);
    for row in rows {
        table.row(row);
    }
    table.lines("    ").map(|line| line + "\n").collect()
}

/// Values as one line of CSV.
pub(super) fn csv(values: &[String]) -> String {
    let quoted = |value: &String| {
        if value.contains([',', '"', '\n', '\r']) || value.starts_with([' ', '\t']) {
            format!("\"{}\"", value.replace('"', "\"\""))
        } else {
            value.clone()
        }
    };
    values.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// How long ago a time was.
pub(super) fn ago(time: Timestamp) -> String {
    let seconds = Timestamp::now().as_seconds().saturating_sub(time.as_seconds());
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let units = [
        (365 * DAY, "year"),
        (30 * DAY, "month"),
        (7 * DAY, "week"),
        (DAY, "day"),
        (HOUR, "hour"),
        (MINUTE, "minute"),
        (1, "second"),
    ];
    match units.iter().find(|(unit, _)| seconds >= *unit) {
        None => "now".to_owned(),
        Some((unit, name)) => {
            let count = seconds / unit;
            format!("{count} {name}{} ago", if count == 1 { "" } else { "s" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_commas_quotes_or_line_breaks_is_quoted() {
        let csv = |values: &[&str]| csv(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(csv(&["a", "b c"]), "a,b c");
        assert_eq!(
            csv(&["a,b", "say \"hi\"", "x\ny"]),
            "\"a,b\",\"say \"\"hi\"\"\",\"x\ny\""
        );
    }

    #[test]
    fn a_time_is_shown_as_its_age() {
        let ago = |seconds: i64| ago(Timestamp::from_millis((Timestamp::now().as_seconds() - seconds) * 1000));
        assert_eq!(ago(-100), "now");
        assert_eq!(ago(65), "1 minute ago");
        assert_eq!(ago(3 * 24 * 3600 + 5), "3 days ago");
        assert_eq!(ago(800 * 24 * 3600), "2 years ago");
    }
}
