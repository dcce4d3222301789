//! The rivals: nginx with Lua that looks a sale's flag up by its slug, and nginx that answers a constant.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::exchange;
use crate::ports;
use crate::run::Outcome;
use crate::server::{Recipe, Server};

/// Where packages put nginx's modules.
const MODULES: &str = "/usr/lib/nginx/modules";
/// The program.
const NGINX: &str = "/usr/sbin/nginx";
/// How long it may take to start.
const START_S_MAX: Duration = Duration::from_secs(10);

/// The refusal, as this gateway words it.
const REFUSAL: &str = r#"{"type":"urn:seckill:problem:sold_out","code":"sold_out","title":"Sold out","status":409,"detail":"No unit is free now. Unpaid units come back: watch the sale's gate."}"#;

/// One nginx with two listeners.
pub(super) struct Nginx {
    server: Server,
    /// Looks the flag up.
    pub(super) lua: u16,
    /// Looks nothing up.
    pub(super) plain: u16,
}

impl Nginx {
    /// Starts it with this slug sold out; `None` where it is not installed.
    pub(super) fn start(home: &Path, slug: &str, gate: &str) -> Outcome<Option<Self>> {
        let modules = ["ndk_http_module.so", "ngx_http_lua_module.so"].map(|m| Path::new(MODULES).join(m));
        if !Path::new(NGINX).exists() || !modules.iter().all(|m| m.exists()) {
            return Ok(None);
        }
        let prefix = home.join("nginx");
        fs::create_dir_all(&prefix).map_err(|e| e.to_string())?;
        let (lua, plain) = (ports::free()?, ports::free()?);
        let file = prefix.join("nginx.conf");
        fs::write(&file, configuration(&modules, slug, gate, lua, plain)).map_err(|e| e.to_string())?;
        let recipe = Recipe::new(Path::new(NGINX)).arguments([
            "-p".to_owned(),
            prefix.display().to_string(),
            "-c".to_owned(),
            file.display().to_string(),
        ]);
        let orders = format!("/api/v1/buy/{slug}/orders");
        let answers = move || {
            let refuses = |port| exchange(port, "POST", &orders, "", "{}").is_ok_and(|a| a.contains(" 409 "));
            refuses(lua) && refuses(plain)
        };
        let mut server = Server::new("nginx", recipe, prefix.join("log"), Box::new(answers));
        server.start()?;
        server.ready(START_S_MAX)?;
        Ok(Some(Self { server, lua, plain }))
    }

    /// The process id of its master.
    pub(super) fn pid(&self) -> u32 {
        self.server.pid().unwrap_or(0)
    }
}

/// As many workers as the platform has threads, no log, connections kept; the answers carry what the contract
/// wants of any answer: the same headers, a request id among them, counted as here and not drawn at random.
fn configuration(modules: &[PathBuf], slug: &str, gate: &str, lua: u16, plain: u16) -> String {
    let loads: String = modules.iter().map(|m| format!("load_module {};\n", m.display())).collect();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let (refusal, gate) = (quoted(REFUSAL), quoted(gate));
    format!(
        r#"{loads}daemon off;
worker_processes {workers};
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  lua_shared_dict sales 1m;
  init_by_lua_block {{
    ngx.shared.sales:set("sold:{slug}", true)
    ngx.shared.sales:set("gate:gone", '{gate}')
    REFUSAL = '{refusal}'
  }}
  server {{
    listen 127.0.0.1:{lua};
    location ~ ^/api/v1/buy/([^/]+)/orders$ {{
      content_by_lua_block {{
        if ngx.shared.sales:get("sold:" .. ngx.var[1]) then
          ngx.status = 409
          ngx.header["content-type"] = "application/problem+json"
          ngx.header["cache-control"] = "no-store"
          ngx.header["x-request-id"] = ngx.var.connection .. "-" .. ngx.var.connection_requests
          ngx.header["content-length"] = #REFUSAL
          ngx.print(REFUSAL)
        else
          ngx.exit(404)
        end
      }}
    }}
    location ~ ^/api/v1/sales/([^/]+)/gate$ {{
      content_by_lua_block {{
        local gate = ngx.shared.sales:get("gate:" .. ngx.var[1])
        if not gate then ngx.exit(404) end
        ngx.header["content-type"] = "application/json"
        ngx.header["cache-control"] = "no-store"
        ngx.header["x-request-id"] = ngx.var.connection .. "-" .. ngx.var.connection_requests
        ngx.header["content-length"] = #gate
        ngx.print(gate)
      }}
    }}
  }}
  server {{
    listen 127.0.0.1:{plain};
    default_type application/json;
    add_header cache-control no-store always;
    add_header x-request-id $connection-$connection_requests always;
    location /api/v1/buy/ {{ return 409 '{refusal}'; }}
    location /api/v1/sales/ {{ return 200 '{gate}'; }}
  }}
}}
"#
    )
}
