//! Judging the journal of an earlier run: of one whose platform was killed, for example.

use std::time::Duration;

use crate::cli::VerdictArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::journal::Account;
use crate::report::Report;
use crate::verdict;

/// Judges; true when the verdict passed.
///
/// # Errors
/// When the journal cannot be read or the platform does not tell.
pub(crate) async fn run(args: &VerdictArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let account = Account::read(&args.journal)?;
    let (sale, accepted) = (account.head.sale.clone(), account.entries.len());
    let drain = Duration::from_secs(args.target.drain_s);
    let facts = verdict::collect(&platform, account, drain, args.target.sample).await?;
    let mut verdict = verdict::judge(&facts);
    if args.may_reject {
        verdict.promises.retain(|promise| promise.promise != verdict::ACCEPTED_IS_SOLD);
    }
    let report = Report {
        title: format!("verdict on sale {sale}"),
        tally: None,
        rates: None,
        extra: vec![("accepted orders in the journal", accepted.into())],
        verdict: Some(verdict),
    };
    Ok(report.publish(args.target.json.as_deref())?)
}
