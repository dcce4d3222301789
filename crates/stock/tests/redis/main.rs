//! The Redis adapter against real servers. Tests that kill, restart or promote start servers of their
//! own from the binary that `TEST_REDIS_SERVER` names; the others share the one of `TEST_REDIS_URL`.

mod access;
mod contract_suite;
mod differential;
mod ha;
mod in_turn;
mod losing;
mod outage;
mod support;
