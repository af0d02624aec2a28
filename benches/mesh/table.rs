//! A table on standard output.

/// A heading and rows of what was measured, its value, and beside what it stands.
pub(crate) struct Table {
    title: &'static str,
    rows: Vec<[String; 3]>,
}

impl Table {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, what: impl Into<String>, value: impl Into<String>, beside: impl Into<String>) {
        self.rows.push([what.into(), value.into(), beside.into()]);
    }

    pub(crate) fn print(&self) {
        println!("\n## {}\n\n| what | measured | aim or peer |\n|---|---|---|", self.title);
        for [what, value, beside] in &self.rows {
            println!("| {what} | {value} | {beside} |");
        }
    }
}

/// The value below which `share` of the values lie.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index of a short list")]
    let index = (share * last as f64).ceil() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}
