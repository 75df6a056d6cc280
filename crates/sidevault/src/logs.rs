//! The log: on stderr, one line an event; JSON for machines, words for people.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;

use serde_json::{Map, Value};
use sidevault_model::printable;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt as layer};

use crate::environment::Environment;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One object: `ts`, `level`, `msg`, `target`, and the event's own fields beside them.
    Json,
    /// Time, level, message and fields, for people.
    Human,
}

/// How the log is written.
pub(crate) struct LogSettings {
    pub(crate) level: LevelFilter,
    /// `None`: human on a terminal, JSON elsewhere.
    pub(crate) format: Option<LogFormat>,
    /// What is wrong with the variables, logged once the log works.
    complaints: Vec<String>,
}

impl LogSettings {
    /// Reads OP_LOG_LEVEL and SIDEVAULT_LOG_FORMAT. A wrong value is no error: the default is used, and logged.
    pub(crate) fn read(environment: &Environment, default: LevelFilter) -> Self {
        let mut complaints = Vec::new();
        let level = match environment.get("OP_LOG_LEVEL").map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("trace") => LevelFilter::TRACE,
            Some("debug") => LevelFilter::DEBUG,
            Some("info") => LevelFilter::INFO,
            Some("warn" | "warning") => LevelFilter::WARN,
            Some("error") => LevelFilter::ERROR,
            Some(_) => {
                complaints.push("OP_LOG_LEVEL is none of trace, debug, info, warn, error: info is used".to_owned());
                LevelFilter::INFO
            }
        };
        let format = match environment.get("SIDEVAULT_LOG_FORMAT") {
            None => None,
            Some("json") => Some(LogFormat::Json),
            Some("human") => Some(LogFormat::Human),
            Some(_) => {
                complaints.push("SIDEVAULT_LOG_FORMAT is neither json nor human, and is ignored".to_owned());
                None
            }
        };
        Self {
            level,
            format,
            complaints,
        }
    }
}

/// Starts the log, then logs what is wrong with its settings.
pub(crate) fn start(settings: &LogSettings) {
    let terminal = std::io::stderr().is_terminal();
    let usual = if terminal { LogFormat::Human } else { LogFormat::Json };
    let format = settings.format.unwrap_or(usual);
    let level = settings.level;
    let lines = layer::layer()
        .with_writer(std::io::stderr)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        .fmt_fields(NoFields)
        .event_format(Lines(format));
    let lines = SpanFields
        .and_then(lines)
        .with_filter(filter_fn(move |event| is_wanted(event, level)));
    // Fails only if a log was started before; that one then serves.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    for complaint in &settings.complaints {
        tracing::warn!("{complaint}");
    }
}

/// Whether an event is logged. At the levels info and below, other crates may log headers and SQL statements, which hold
/// tokens and titles: only their warnings and errors are logged. Of the Kubernetes client (`kube_…`) nothing is logged: it
/// logs the whole of an answer that it can't parse, which may be a Secret. The operator logs its own errors.
fn is_wanted(event: &Metadata<'_>, level: LevelFilter) -> bool {
    let target = event.target();
    // Our spans name the request or the object of a line, whatever the line's level.
    if event.is_span() {
        return target.starts_with("sidevault") && level != LevelFilter::OFF;
    }
    let most = if target.starts_with("sidevault") {
        level
    } else if target.starts_with("kube_") {
        LevelFilter::OFF
    } else {
        level.min(LevelFilter::WARN)
    };
    *event.level() <= most
}

/// Keeps the fields of spans, for the lines that are logged in them.
struct SpanFields;

impl<S> Layer<S> for SpanFields
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }
}

/// In place of tracing's text of a span's fields, which nothing here reads.
struct NoFields;

impl<'writer> FormatFields<'writer> for NoFields {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }
}

struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        let meta = event.metadata();
        let now = jiff::Timestamp::now();
        match self.0 {
            LogFormat::Json => writeln!(writer, "{}", json_line(meta, now, fields)),
            LogFormat::Human => human_line(&mut writer, meta, now, &fields),
        }
    }
}

fn json_line(meta: &Metadata<'_>, now: jiff::Timestamp, fields: Fields) -> Value {
    let mut line = Map::new();
    line.insert("ts".into(), now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into());
    line.insert("level".into(), word(*meta.level()).into());
    line.insert("msg".into(), fields.message.into());
    line.insert("target".into(), meta.target().into());
    for (name, value) in fields.others {
        line.entry(name).or_insert(value);
    }
    Value::Object(line)
}

fn human_line(writer: &mut Writer<'_>, meta: &Metadata<'_>, now: jiff::Timestamp, fields: &Fields) -> fmt::Result {
    let (colour, plain) = match (writer.has_ansi_escapes(), *meta.level()) {
        (false, _) => ("", ""),
        (true, Level::ERROR) => ("\x1b[31m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[33m", "\x1b[0m"),
        (true, Level::INFO) => ("\x1b[32m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[0m"),
    };
    let level = word(*meta.level());
    write!(writer, "{} {colour}{level:<5}{plain} ", now.strftime("%H:%M:%S%.3f"))?;
    // A message may quote a file's name, which may hold escape sequences.
    writer.write_str(&printable(&fields.message))?;
    for (name, value) in &fields.others {
        write!(writer, " {name}={value}")?;
    }
    writeln!(writer)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// An event's message, and its other fields in the order they were given.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Adds the fields of a span. A field of the event itself, or of an inner span, hides one of the same name.
    fn extend(&mut self, of_span: &Self) {
        for (name, value) in &of_span.others {
            if !self.others.iter().any(|(known, _)| known == name) {
                self.others.push((name, value.clone()));
            }
        }
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Writing to a String never fails.
            "message" => drop(write!(self.message, "{value:?}")),
            _ => self.add(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.add(field, value),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, event: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = layer::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .fmt_fields(NoFields)
            .event_format(Lines(format));
        let lines = SpanFields
            .and_then(lines)
            .with_filter(filter_fn(|event| is_wanted(event, LevelFilter::INFO)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), event);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn nothing_of_the_kubernetes_client_is_logged() {
        let text = r#"{"kind":"Secret","data":{"v":7}}"#;
        let log = logged(LogFormat::Json, || {
            tracing::warn!(target: "kube_client::client", "{text}, invalid type");
            tracing::warn!(target: "hyper", "broken");
        });
        assert!(log.contains("broken") && !log.contains("Secret"), "{log}");
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let line = logged(LogFormat::Json, || {
            tracing::info!(
                request_id = "r1",
                jti = Some("j"),
                status = 200_u16,
                dur_ms = 1.5,
                "two\nlines"
            );
        });
        assert_eq!(line.lines().count(), 1);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "two\nlines");
        assert_eq!((&line["request_id"], &line["jti"]), (&"r1".into(), &"j".into()));
        assert_eq!((&line["status"], &line["dur_ms"]), (&200.into(), &1.5.into()));
        assert!(line["target"].as_str().unwrap().starts_with("sidevault"));
        let ts = line["ts"].as_str().unwrap();
        assert!(ts.len() == 24 && ts.ends_with('Z'), "{ts}");
    }

    #[test]
    fn a_line_in_a_span_has_the_fields_of_the_span() {
        let log = logged(LogFormat::Json, || {
            let span = tracing::info_span!(
                "outer",
                request_id = "r1",
                route = "/health",
                status = tracing::field::Empty
            );
            span.record("status", 200_u16);
            let _entered = span.entered();
            let _inner = tracing::info_span!("inner", route = "/metrics").entered();
            tracing::info!(jti = "j", "in the span");
        });
        let line: Value = serde_json::from_str(&log).unwrap();
        assert_eq!((&line["request_id"], &line["jti"]), (&"r1".into(), &"j".into()));
        assert_eq!((&line["route"], &line["status"]), (&"/metrics".into(), &200.into()));
        let log = logged(LogFormat::Human, || {
            let _entered = tracing::info_span!("outer", request_id = "r1").entered();
            tracing::warn!("in the span");
        });
        assert!(log.contains("request_id=\"r1\""), "{log}");
    }

    #[test]
    fn spans_of_other_crates_are_not_kept() {
        let log = logged(LogFormat::Json, || {
            let _entered = tracing::info_span!(target: "h2", "frame", token = "x").entered();
            tracing::info!("in the span");
        });
        assert!(log.contains("in the span") && !log.contains("token"), "{log}");
    }

    #[test]
    fn of_other_crates_only_warnings_and_errors_are_logged() {
        let lines = logged(LogFormat::Json, || {
            tracing::info!(target: "h2::codec", "authorization: Bearer x");
            tracing::warn!(target: "h2::codec", "broken");
            tracing::debug!("too much");
        });
        assert_eq!(lines.lines().count(), 1);
        assert!(lines.contains("broken"));
    }

    #[test]
    fn a_human_line_holds_no_escape_sequences() {
        let line = logged(LogFormat::Human, || tracing::warn!(file = "\x1b[2Jx", "bad \x1b[2J"));
        assert!(!line.contains('\x1b'), "{line}");
        assert!(line.contains("warn"));
    }

    #[test]
    fn an_invalid_log_level_means_info_and_is_reported() {
        let junk = LogSettings::read(&Environment::from([("OP_LOG_LEVEL", "loud")]), LevelFilter::WARN);
        assert_eq!((junk.level, junk.complaints.len()), (LevelFilter::INFO, 1));
        let good = LogSettings::read(&Environment::from([("OP_LOG_LEVEL", "Debug")]), LevelFilter::INFO);
        assert_eq!((good.level, good.complaints.len()), (LevelFilter::DEBUG, 0));
    }
}
