//! What every mailbox must do, tried on each.

use std::sync::Arc;

use contract::events::{Channel, Notice, Priority};
use domain::{OrderId, UnixMillis};
use futures_util::future::try_join_all;
use service_kit::postgres::TestDatabase;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{Mailbox, MailboxError, open};

fn notice(n: u32) -> Notice {
    Notice {
        id: format!("notice-{n}"),
        channel: Channel::Sms,
        priority: Priority::High,
        buyer: "ann".parse().unwrap(),
        order_id: OrderId::from_bytes([7; 16]),
        subject: "Your lamp".into(),
        body: "It is \"yours\".".into(),
        created_at: UnixMillis(i64::from(n)),
    }
}

async fn a_notice_delivered_twice_is_there_once(mailbox: Arc<dyn Mailbox>) {
    mailbox.deliver(&[notice(1), notice(2)]).await.unwrap();
    mailbox.deliver(&[notice(2), notice(3)]).await.unwrap();
    mailbox.deliver(&[]).await.unwrap();
    let ann = "ann".parse().unwrap();
    assert_eq!(mailbox.of_buyer(&ann, 9).await.unwrap(), [notice(3), notice(2), notice(1)], "newest first");
    assert_eq!(mailbox.of_buyer(&ann, 1).await.unwrap(), [notice(3)]);
    assert_eq!(mailbox.of_buyer(&"bob".parse().unwrap(), 9).await.unwrap(), []);
}

async fn the_same_notices_from_all_sides_at_once_are_there_once(mailbox: Arc<dyn Mailbox>) {
    let all: Vec<Notice> = (0..200).map(notice).collect();
    let turned = |by: usize| [&all[by..], &all[..by]].concat();
    let deliveries: Vec<_> = (0..8).map(|n| turned(n * 25)).collect();
    try_join_all(deliveries.iter().map(|notices| mailbox.deliver(notices))).await.unwrap();
    assert_eq!(mailbox.of_buyer(&"ann".parse().unwrap(), 999).await.unwrap().len(), 200);
}

macro_rules! on_both {
    ($($rule:ident,)*) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $rule() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("m.db").display());
                super::$rule(super::open(&url).await.unwrap()).await;
            })*
        }

        mod on_a_server {
            $(#[tokio::test]
            #[ignore = "needs Postgres: cargo xtask test runs it"]
            async fn $rule() {
                let database = super::TestDatabase::create().await;
                super::$rule(super::open(&database.url()).await.unwrap()).await;
            })*
        }
    };
}

on_both!(a_notice_delivered_twice_is_there_once, the_same_notices_from_all_sides_at_once_are_there_once,);

#[tokio::test]
async fn an_unknown_scheme_is_named_and_nothing_else_of_the_url() {
    let error = open("mysql://user:secret@host/db").await.err().unwrap().to_string();
    assert!(error.contains("mysql") && !error.contains("secret"), "{error}");
}

/// What nobody but this program should write, written by somebody else; each by what it is a bad one of.
const ODD_WORDS: [(&str, &str); 2] = [
    ("channel", "update notify_mailbox set channel = 'pigeon', priority = 'high'"),
    ("priority", "update notify_mailbox set channel = 'sms', priority = 'urgent'"),
];

async fn is_refused(mailbox: &dyn Mailbox, what: &str) {
    let found = mailbox.of_buyer(&"ann".parse().unwrap(), 9).await;
    assert!(matches!(&found, Err(MailboxError::Refused(why)) if why.contains(what)), "{what}: {found:?}");
}

#[tokio::test]
async fn a_word_that_means_nothing_is_not_taken_for_another_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("m.db").display());
    let mailbox = open(&url).await.unwrap();
    mailbox.deliver(&[notice(1)]).await.unwrap();
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    for (what, statement) in ODD_WORDS {
        sqlx::query(statement).execute(&mut other).await.unwrap();
        is_refused(&*mailbox, what).await;
    }
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_word_that_means_nothing_is_not_taken_for_another_on_a_server() {
    let database = TestDatabase::create().await;
    let mailbox = open(&database.url()).await.unwrap();
    mailbox.deliver(&[notice(1)]).await.unwrap();
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    for (what, statement) in ODD_WORDS {
        sqlx::query(statement).execute(&mut other).await.unwrap();
        is_refused(&*mailbox, what).await;
    }
}

/// Two deliveries in opposite orders meet at a notice that a third has not finished writing.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn replicas_that_deliver_the_same_do_not_wait_in_a_ring() {
    let database = TestDatabase::create().await;
    let mailbox = open(&database.url()).await.unwrap();
    let mut third = PgConnection::connect(&database.url()).await.unwrap();
    let mut watch = PgConnection::connect(&database.url()).await.unwrap();
    let mut unfinished = third.begin().await.unwrap();
    let middle =
        "insert into notify_mailbox (id, channel, priority, buyer, order_id, subject, body, created_at)
                  values ('notice-2', 'sms', 'high', 'ann', '', '', '', 0)";
    sqlx::query(middle).execute(&mut *unfinished).await.unwrap();
    let both_wait = "select count(*) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock'";
    let (there, back) = ([notice(1), notice(2), notice(3)], [notice(3), notice(2), notice(1)]);
    let finish = async {
        while sqlx::query_scalar::<_, i64>(both_wait).fetch_one(&mut watch).await.unwrap() < 2 {}
        unfinished.rollback().await.unwrap();
    };
    let finish = tokio::time::timeout(std::time::Duration::from_secs(10), finish);
    let (ours, theirs, met) = tokio::join!(mailbox.deliver(&there), mailbox.deliver(&back), finish);
    met.expect("both wait for the third");
    ours.unwrap();
    theirs.unwrap();
    assert_eq!(mailbox.of_buyer(&"ann".parse().unwrap(), 9).await.unwrap().len(), 3);
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_notice_that_is_refused_is_told_from_a_database_that_does_not_answer() {
    let database = TestDatabase::create().await;
    let mailbox = open(&database.url()).await.unwrap();
    // Text with a zero byte, which no table takes.
    let bad = Notice { body: "\0".into(), ..notice(2) };
    let refused = mailbox.deliver(&[notice(1), bad]).await;
    assert!(matches!(refused, Err(MailboxError::Refused(_))), "{refused:?}");
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let lock = other.begin_with("begin; lock table notify_mailbox in access exclusive mode").await.unwrap();
    let away = mailbox.deliver(&[notice(3)]).await;
    assert!(matches!(away, Err(MailboxError::Unavailable(_))), "{away:?}");
    lock.rollback().await.unwrap();
    mailbox.deliver(&[notice(3)]).await.unwrap();
    assert_eq!(mailbox.of_buyer(&"ann".parse().unwrap(), 9).await.unwrap(), [notice(3)], "all or none");
}
