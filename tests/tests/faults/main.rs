//! Ways in which a tree or a Git server can be bad, each with what is served then. The table is `docs/faults-of-sources.md`: each of its
//! rows names a test, and the tests of this program are those of faults that no other test makes.

mod git;
mod table;
mod trees;
