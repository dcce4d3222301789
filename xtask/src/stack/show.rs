//! `cargo xtask stack`: for people who want to look around.

use clap::{Args, ValueEnum};

use super::{Shape, Stack};
use crate::engines::Durability;
use crate::run::Outcome;
use crate::subject::{ADMIN_TOKEN, JWT_SECRET, Subject};

/// How much of the engines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum What {
    /// One of each.
    Up,
    /// Redis with a replica and three sentinels, RabbitMQ with three nodes.
    Ha,
}

/// `cargo xtask stack`.
#[derive(Args)]
pub(crate) struct Options {
    /// With one of each engine, or with a replica, sentinels and a cluster.
    #[arg(default_value = "up")]
    what: What,
    /// Gateways, balanced by connection.
    #[arg(long, default_value_t = 2)]
    gateways: usize,
    /// Inventories.
    #[arg(long, default_value_t = 1)]
    inventories: usize,
    /// Order services.
    #[arg(long, default_value_t = 2)]
    orders: usize,
    /// Notifies.
    #[arg(long, default_value_t = 1)]
    notifies: usize,
    /// Services speak TLS to their engines; not with replica and cluster.
    #[arg(long)]
    encrypted: bool,
    /// Services' settings, NAME=VALUE.
    #[arg(long = "set", value_parser = name_and_value)]
    settings: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

/// Starts it, tells where everything is, and keeps it until Ctrl-C.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut settings = vec![("SECKILL_DEMO".to_owned(), "true".to_owned())];
    settings.extend(options.settings.iter().cloned());
    let shape = Shape {
        gateways: options.gateways,
        inventories: options.inventories,
        orders: options.orders,
        notifies: options.notifies,
        settings,
        highly_available: options.what == What::Ha,
        encrypted: options.encrypted,
        ..Shape::default()
    };
    let mut stack = Stack::new(&shape, Durability::Full)?;
    stack.start()?;
    let took = stack.ready()?;
    println!("\nready after {:.1} s\n", took.as_secs_f64());
    println!("the shop             http://127.0.0.1:{}/", stack.port());
    println!("operators            http://127.0.0.1:{}/admin/v1/sales", stack.admin_port());
    println!("operators' token     {ADMIN_TOKEN}");
    println!("buyers' JWT secret   {JWT_SECRET}");
    let engines = &stack.engines;
    println!("redis                {}", engines.stock_url(None));
    println!("rabbitmq             {}   management {}", engines.queue_url(None), engines.rabbitmq.api_url());
    println!("postgres             {}", engines.database_url(None, super::DATABASE));
    println!("\nservice        process   listens on   metrics and readiness             log");
    for service in &stack.services {
        println!(
            "{:14} {:>7}   {:>10}   http://127.0.0.1:{}/metrics   {}",
            service.server.name(),
            service.server.pid().unwrap_or(0),
            service.port,
            service.admin_port,
            service.server.log().display()
        );
    }
    println!("\na storm:  loadtest spike {}", stack.target_arguments().join(" "));
    println!("\nCtrl-C stops everything and removes {}", engines.home().path().display());
    loop {
        std::thread::park();
    }
}
