//! The plan of an import, for people.

use std::collections::BTreeMap;

use sidevault_exchange::plan::{Counts, OnConflict, Target};
use sidevault_model::printable;

use crate::exit::Failure;
use crate::output;

/// How many lines of each kind are printed before an import. `--plan` prints all.
const SHOWN: usize = 20;

/// What the first reading of an export found.
pub(crate) struct Survey {
    /// By the number of the export's vault.
    pub(crate) counts: BTreeMap<usize, Counts>,
    /// What can't be carried over, one line each.
    pub(crate) losses: Vec<String>,
    /// Losses beyond those that are kept.
    pub(crate) more_losses: u64,
}

/// The most lines that are kept in memory.
const MAX_LOSSES: usize = 10_000;

impl Survey {
    pub(crate) fn new() -> Self {
        Self {
            counts: BTreeMap::new(),
            losses: Vec::new(),
            more_losses: 0,
        }
    }

    pub(crate) fn lose(&mut self, line: String) {
        if self.losses.len() < MAX_LOSSES {
            self.losses.push(line);
        } else {
            self.more_losses += 1;
        }
    }

    pub(crate) fn total(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        self.counts.values().map(of).sum()
    }

    pub(crate) fn print(&self, targets: &[Target], policy: OnConflict, all: bool) -> Result<(), Failure> {
        for (vault, target) in targets.iter().enumerate() {
            let Some(counts) = self.counts.get(&vault) else {
                output::line(&format!("vault \"{}\": nothing", printable(target.name())))?;
                continue;
            };
            let kind = match target {
                Target::Existing { .. } => "there already",
                Target::New { .. } => "new",
            };
            output::line(&format!("vault \"{}\" ({kind})", printable(target.name())))?;
            let categories: Vec<String> = counts
                .categories
                .iter()
                .map(|(category, n)| format!("{n} {category}"))
                .collect();
            if !categories.is_empty() {
                output::line(&format!("  items: {}", categories.join(", ")))?;
            }
            let conflict = match policy {
                OnConflict::Skip => "differ and stay as the server has them",
                OnConflict::Update => "differ and are replaced",
                OnConflict::Copy => "differ and get a copy",
            };
            let parts = [
                (counts.new, "new"),
                (counts.equal, "there already, equal"),
                (counts.conflicts, conflict),
                (counts.archived, "archived"),
                (counts.refused, "can't be imported"),
            ];
            for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
                output::line(&format!("  {count} {what}"))?;
            }
            for (reason, count) in &counts.skipped {
                output::line(&format!("  {count} left out: {reason}"))?;
            }
            if counts.files > 0 {
                output::line(&format!("  {} files, {} bytes", counts.files, counts.bytes))?;
            }
            let twice = counts.duplicates();
            let lines = twice.iter().map(|(title, count)| {
                format!(
                    "  {count} items are titled \"{}\": a look-up by this title fails",
                    printable(title)
                )
            });
            print_some(lines, twice.len(), all)?;
        }
        if !self.losses.is_empty() {
            output::line("not carried over as it is:")?;
            let lines = self.losses.iter().map(|loss| format!("  {loss}"));
            print_some(lines, self.losses.len(), all)?;
        }
        if self.more_losses > 0 {
            output::line(&format!("  and {} more", self.more_losses))?;
        }
        Ok(())
    }
}

fn print_some(lines: impl Iterator<Item = String>, count: usize, all: bool) -> Result<(), Failure> {
    let shown = if all { count } else { SHOWN };
    for line in lines.take(shown) {
        output::line(&line)?;
    }
    match count.saturating_sub(shown) {
        0 => Ok(()),
        more => output::line(&format!("  and {more} more (--plan shows all)")),
    }
}
