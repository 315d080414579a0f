//! What tests about people say.

use wire::Area;

// Beside the tests that go through HTTP, which show passkeys too.
#[path = "../../tests/end_to_end/authenticator.rs"]
pub(crate) mod authenticator;

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
