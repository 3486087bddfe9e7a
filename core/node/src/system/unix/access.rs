//! Groups and root.

use std::{fs, io};

/// A group of users, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(pub(crate) u32);

impl Group {
    /// The group with this name or number; `None` when there is no such name.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        if let Ok(number) = name.parse() {
            return Ok(Some(Self(number)));
        }
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let number = groups
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(':');
                (fields.next() == Some(name)).then(|| fields.nth(1))?
            })
            .find_map(|number| number.parse().ok());
        Ok(number.map(Self))
    }
}

/// Whether this process may do all on the machine: root.
pub fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(Group::find("root").unwrap(), Some(Group(0)));
        assert_eq!(Group::find("4711").unwrap(), Some(Group(4711)));
    }
}
