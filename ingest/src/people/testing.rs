//! What tests about people say.

use wire::Area;

use super::account::{Account, Login};
use super::role::{Duty, Role, Scope};

pub(crate) fn area(text: &str) -> Area {
    Area::new(text).unwrap()
}

pub(crate) fn duties(roles: &[(Role, &str)]) -> Vec<Duty> {
    roles.iter().map(|(role, area)| Duty { role: *role, area: Scope::new(area).unwrap() }).collect()
}

/// Somebody active with roles.
pub(crate) fn account(name: &str, roles: &[(Role, &str)]) -> Account {
    Account { roles: duties(roles), ..super::blank(Login::new(name).unwrap(), 0) }
}
