//! A stock dhclient that poses as firmware.

use std::fs;

use anyhow::{Result, bail};
use meadow_rack::wait;

use crate::{Net, PATIENCE};

impl Net {
    /// One round of dhclient on the client: takes a lease only from a server that gives a netmask, as a proxy does not.
    /// The file of leases.
    ///
    /// # Errors
    /// When it gets none.
    pub fn dhclient(&mut self, vendor_class: &str, architecture: Option<u16>) -> Result<String> {
        let folder = self.file("dhclient");
        fs::create_dir_all(&folder)?;
        let architecture = architecture.map(|number| format!("send arch {number};\n")).unwrap_or_default();
        let (settings, leases) = (folder.join("conf"), folder.join("leases"));
        fs::write(
            &settings,
            format!(
                "option arch code 93 = unsigned integer 16;\nsend vendor-class-identifier \"{vendor_class}\";\n\
                 {architecture}request subnet-mask, routers;\nrequire subnet-mask;\ntimeout 30;\n"
            ),
        )?;
        fs::write(&leases, "")?;
        let client = self.client().clone();
        let mut command = client.command("dhclient");
        command
            .args(["-4", "-d", "-sf", "/bin/true", "-cf"])
            .arg(&settings)
            .arg("-lf")
            .arg(&leases)
            .arg("-pf")
            .arg(folder.join("pid"))
            .arg("eth0");
        let (mut dhclient, log) = self.start(&client, command, "dhclient.log")?;
        wait::until("a lease", PATIENCE, || {
            if let Some(status) = dhclient.exited()? {
                bail!("dhclient ended ({status}): {}", fs::read_to_string(&log)?);
            }
            Ok(Some(fs::read_to_string(&leases)?).filter(|leases| leases.contains('}')))
        })
    }
}
