//! The rules for sections. An item has the sections that it declares, and those that its fields name.

use std::collections::{HashMap, HashSet};

use crate::field::Field;
use crate::ids;
use crate::input::{Edit, SectionInput};
use crate::item::Item;
use crate::limits;
use crate::section::{Section, SectionRef};

use super::{Fault, Part};

/// The sections so far.
pub(super) struct Sections<'a> {
    list: Vec<Section>,
    /// The index in `list` by id.
    by_id: HashMap<String, usize>,
    /// The ids of all declared sections, so that a new id differs also from those that come later.
    sent: HashSet<String>,
    /// Ids of declared sections that had a label before and are sent without one.
    cleared: HashSet<String>,
    old: &'a [Section],
}

impl<'a> Sections<'a> {
    /// The declared sections, in their order. A section that is declared twice is one section.
    pub(super) fn declare(
        inputs: Vec<SectionInput>,
        old: Option<&'a Item>,
        edit: &mut Edit<'_>,
    ) -> Result<Self, Fault> {
        if inputs.len() > limits::SECTIONS {
            return Err(Fault::new(
                Part::Sections,
                format!("are more than {}", limits::SECTIONS),
            ));
        }
        let mut sections = Self {
            list: Vec::new(),
            by_id: HashMap::new(),
            sent: inputs.iter().filter_map(|input| input.id.clone()).collect(),
            cleared: HashSet::new(),
            old: old.map_or(&[][..], |old| &old.sections),
        };
        for (index, input) in inputs.into_iter().enumerate() {
            let fault = |reason| Fault::new(Part::Section(index), reason);
            check(&input).map_err(fault)?;
            if input == SectionInput::default() {
                continue;
            }
            let id = input.id.unwrap_or_else(|| sections.fresh(edit));
            let label = input.label.unwrap_or_default();
            if label.is_empty() && !sections.old_label(&id).is_empty() {
                sections.cleared.insert(id.clone());
            }
            sections.put(id, label);
        }
        Ok(sections)
    }

    /// The section that a field names. If it is not declared, it is created, with the label that the field sends.
    pub(super) fn resolve(&mut self, input: SectionInput, edit: &mut Edit<'_>) -> Result<SectionRef, String> {
        check(&input)?;
        let label = input.label.unwrap_or_default();
        let id = match input.id {
            Some(id) => id,
            // Only a label: the section with this label, or a new one.
            None => match self.list.iter().find(|section| section.label == label) {
                Some(section) => section.id.clone(),
                None => self.fresh(edit),
            },
        };
        self.put(id.clone(), label);
        if self.list.len() <= limits::SECTIONS {
            Ok(SectionRef { id, label: None })
        } else {
            Err(format!("is in one section more than the {} allowed", limits::SECTIONS))
        }
    }

    /// An id that no section has. The first id is new, unless two edits use the same random numbers, as in tests.
    fn fresh(&self, edit: &mut Edit<'_>) -> String {
        loop {
            let id = ids::fresh_from(&mut *edit.rng);
            if !self.by_id.contains_key(&id) && !self.sent.contains(&id) {
                return id;
            }
        }
    }

    fn old_label(&self, id: &str) -> &'a str {
        let old = self.old.iter().find(|section| section.id == id);
        old.map_or("", |section| section.label.as_str())
    }

    /// Adds a section, or gives a label to one that has none. The label of a section that was declared without one stays
    /// empty: clients that clear a label may still send the old one with the section's fields.
    fn put(&mut self, id: String, label: String) {
        let is_cleared = self.cleared.contains(&id);
        if let Some(index) = self.by_id.get(&id) {
            let section = &mut self.list[*index];
            if section.label.is_empty() && !is_cleared {
                section.label = label;
            }
            return;
        }
        // A section that only fields name, and name without a label, keeps the label that it has.
        let label = if label.is_empty() && !is_cleared {
            self.old_label(&id).to_owned()
        } else {
            label
        };
        self.by_id.insert(id.clone(), self.list.len());
        self.list.push(Section { id, label });
    }

    /// The sections. Their labels are also set in the fields that belong to them.
    pub(super) fn finish(self, fields: &mut [Field]) -> Vec<Section> {
        for pointer in fields.iter_mut().filter_map(|field| field.section.as_mut()) {
            let section = self.by_id.get(&pointer.id).map(|index| &self.list[*index]);
            pointer.label = section
                .map(|section| section.label.clone())
                .filter(|label| !label.is_empty());
        }
        self.list
    }
}

fn check(input: &SectionInput) -> Result<(), String> {
    if input.id.as_ref().is_some_and(|id| id.len() > limits::ID_BYTES) {
        return Err(format!("has a section id longer than {} bytes", limits::ID_BYTES));
    }
    if input
        .label
        .as_ref()
        .is_some_and(|label| label.chars().count() > limits::LABEL_CHARS)
    {
        return Err(format!(
            "has a section label longer than {} characters",
            limits::LABEL_CHARS
        ));
    }
    Ok(())
}
