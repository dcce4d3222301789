//! Writes the definitions file: `cargo run -p messaging --example rabbit_definitions >
//! infra/rabbitmq/definitions.json`

use std::io::Write;

use messaging::rabbitmq::{LANES_DEFAULT, definitions};
use messaging::topology::Limits;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let definitions = definitions("/", LANES_DEFAULT, &Limits::default());
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&definitions)?)?;
    Ok(())
}
