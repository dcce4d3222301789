//! SQLite files that several services open for themselves.

use sqlx::Connection;
use sqlx::sqlite::SqlitePoolOptions;

/// Options of a pool of connections to a SQLite file.
///
/// **A connection whose transaction did not end as the client thinks is given up.** After a commit that fails for a full
/// or broken disk SQLite ends the transaction by itself; the client's rollback then fails, it goes on counting a
/// transaction as open, and refuses to begin another on that connection, long after the disk is well again.
#[must_use]
pub fn sqlite_pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new().after_release(|connection, _| {
        Box::pin(async move {
            // Whatever the client still had to do on the connection, such as that rollback, is done before it answers.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_given_up_when_the_engine_ended_its_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let file = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(folder.path().join("a.db"))
            .create_if_missing(true);
        let pool = sqlite_pool().max_connections(1).connect_with(file).await.unwrap();
        sqlx::query("create table unit (n integer primary key on conflict rollback)")
            .execute(&pool)
            .await
            .unwrap();
        let mut tx = pool.begin_with("begin immediate").await.unwrap();
        sqlx::query("insert into unit values (1)").execute(&mut *tx).await.unwrap();
        // The engine rolls all of it back, as it does when the disk is full.
        sqlx::query("insert into unit values (1)").execute(&mut *tx).await.unwrap_err();
        assert!(tx.commit().await.is_err());
        let mut tx = pool.begin_with("begin immediate").await.expect("the next one can begin");
        sqlx::query("insert into unit values (2)").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let kept: Vec<i64> = sqlx::query_scalar("select n from unit").fetch_all(&pool).await.unwrap();
        assert_eq!(kept, [2]);
        pool.close().await;
    }
}
