//! Runs the calls of tikv-client, Rust's client of TiKV, and prints one line for each:
//!
//!     rust-client txn|raw PD [CA CERT KEY]
//!
//! The lines hold nothing that differs from run to run, so those of two clusters can be compared.
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tikv_client::{Config, RawClient, Result, Transaction, TransactionClient, TransactionOptions};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);
const MANY: u32 = 300;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mode, pd) = (args[0].as_str(), args[1].clone());
    let mut config = Config::default().with_timeout(Duration::from_secs(5));
    if args.len() == 5 {
        config = config.with_security(&args[2], &args[3], &args[4]);
    }
    match mode {
        "txn" => txn(vec![pd], config).await,
        "raw" => raw(vec![pd], config).await,
        other => panic!("unknown mode {other}"),
    }
}

/// Prints what a call gives, or that it failed.
async fn show<T: Debug>(what: &str, call: impl Future<Output = Result<T>>) {
    match timeout(LIMIT, call).await {
        Ok(Ok(value)) => println!("{what}: {value:?}"),
        Ok(Err(error)) => println!("{what}: failed: {}", first_line(&error.to_string())),
        Err(_) => println!("{what}: no answer"),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

fn many() -> Vec<String> {
    (0..MANY).map(|n| format!("many{n:04}")).collect()
}

async fn raw(pd: Vec<String>, config: Config) {
    let client = RawClient::new_with_config(pd, config).await.expect("connect");
    show("scan at first", client.scan_keys("".to_owned().., 5)).await;
    show("put", client.put("a".to_owned(), "1".to_owned())).await;
    show("get", client.get("a".to_owned())).await;
    show("get absent", client.get("absent".to_owned())).await;
    let pairs: Vec<_> = many().into_iter().map(|key| (key, "v".to_owned())).collect();
    show("batch put", client.batch_put(pairs)).await;
    show("batch get", client.batch_get(vec!["a".to_owned(), "many0001".to_owned(), "b".to_owned()])).await;
    // In the last region, a scan that finds less than its limit begins again at the first key, so each limit is met.
    show("scan", client.scan("a".to_owned().."many0004".to_owned(), 5)).await;
    show("scan keys", client.scan_keys("many".to_owned().., 3)).await;
    show("reverse scan", client.scan_reverse("many".to_owned().."many0290".to_owned(), 3)).await;
    show("put with ttl", client.put_with_ttl("brief".to_owned(), "1".to_owned(), 1000)).await;
    let left = client.get_key_ttl_secs("brief".to_owned()).await;
    println!("ttl: {:?}", left.map(|ttl| ttl.map(|seconds| seconds > 900 && seconds <= 1000)).map_err(|e| e.to_string()));
    show("delete", client.delete("a".to_owned())).await;
    show("delete range", client.delete_range("many0000".to_owned().."many0100".to_owned())).await;
    show("scan after", client.scan_keys("".to_owned().., 2)).await;
    show("batch delete", client.batch_delete(many())).await;
    show("scan at last", client.scan_keys("".to_owned().., 5)).await;
    let atomic = client.with_atomic_for_cas();
    show("cas of absent", atomic.compare_and_swap("cas".to_owned(), None, "1".to_owned())).await;
    show("cas", atomic.compare_and_swap("cas".to_owned(), Some(b"1".to_vec()), "2".to_owned())).await;
    show("cas too late", atomic.compare_and_swap("cas".to_owned(), Some(b"1".to_vec()), "3".to_owned())).await;
    show("get after cas", atomic.get("cas".to_owned())).await;
}

/// A transaction that is dropped when it was not ended would panic.
fn options() -> TransactionOptions {
    TransactionOptions::new_optimistic().drop_check(tikv_client::CheckLevel::Warn)
}

async fn begin(client: &TransactionClient) -> Transaction {
    client.begin_with_options(options()).await.expect("begin")
}

async fn txn(pd: Vec<String>, config: Config) {
    let client = TransactionClient::new_with_config(pd, config).await.expect("connect");
    let mut writes = begin(&client).await;
    show("scan at first", async { writes.scan_keys("".to_owned().., 5).await.map(Iterator::collect::<Vec<_>>) }).await;
    show("put", writes.put("a".to_owned(), "1".to_owned())).await;
    for key in many() {
        writes.put(key, "v".to_owned()).await.expect("put");
    }
    show("commit", async { writes.commit().await.map(|at| at.is_some()) }).await;

    let mut reads = begin(&client).await;
    show("get", reads.get("a".to_owned())).await;
    show("get absent", reads.get("absent".to_owned())).await;
    let keys = vec!["a".to_owned(), "many0001".to_owned(), "b".to_owned()];
    show("batch get", async { reads.batch_get(keys).await.map(Iterator::collect::<Vec<_>>) }).await;
    let low = "a".to_owned().."many0004".to_owned();
    show("scan", async { reads.scan(low, 10).await.map(Iterator::collect::<Vec<_>>) }).await;
    let high = "many".to_owned().."many0290".to_owned();
    show("reverse scan", async { reads.scan_keys_reverse(high, 3).await.map(Iterator::collect::<Vec<_>>) }).await;
    show("read only", async { reads.commit().await.map(|at| at.is_some()) }).await;

    let (mut first, mut second) = (begin(&client).await, begin(&client).await);
    first.put("a".to_owned(), "first".to_owned()).await.expect("put");
    second.put("a".to_owned(), "second".to_owned()).await.expect("put");
    show("commit of the first", async { first.commit().await.map(|at| at.is_some()) }).await;
    let conflict = timeout(LIMIT, second.commit()).await.map(|done| done.is_err());
    println!("the second meets a conflict: {conflict:?}");
    let _ = second.rollback().await;

    let locking = TransactionOptions::new_pessimistic().drop_check(tikv_client::CheckLevel::Warn);
    let mut locks = client.begin_with_options(locking).await.expect("begin");
    show("get for update", locks.get_for_update("a".to_owned())).await;
    show("lock", locks.lock_keys(vec!["many0001".to_owned()])).await;
    show("put", locks.put("a".to_owned(), "third".to_owned())).await;
    show("delete", locks.delete("many0000".to_owned())).await;
    show("commit", async { locks.commit().await.map(|at| at.is_some()) }).await;

    let mut undone = begin(&client).await;
    undone.put("a".to_owned(), "never".to_owned()).await.expect("put");
    show("rollback", undone.rollback()).await;
    let mut last = begin(&client).await;
    show("get at last", last.get("a".to_owned())).await;
    let all = "".to_owned()..;
    show("scan keys at last", async { last.scan_keys(all, 3).await.map(Iterator::collect::<Vec<_>>) }).await;
    let _ = last.rollback().await;
}
