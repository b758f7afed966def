//! `meadow-bench-suite`: measures what docs/specification.md publishes. `make bench` calls it.

mod agent_usage;
mod boot;
mod boot_server_usage;
mod boot_speed;
mod cluster_state;
mod cold_files;
mod commit;
mod dhcp_client;
mod dhcp_speed;
mod dhcp_wait;
mod downloads;
mod host;
mod http_client;
mod installed;
mod many;
mod measure;
mod memory;
mod payload;
mod peer;
mod process_usage;
mod raw_sync;
mod report;
mod server;
mod tftp_client;
mod to_script;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use meadow_rack::progress::Progress;
use meadow_rack::run_dir::RunDir;
use meadow_rack::{accelerator, interrupt, paths};

use host::Host;
use measure::Measure;
use report::{Report, Section};

/// Measures what docs/specification.md publishes; needs root and a built image.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Rounds of what is measured in rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Memory of the machines whose boot is timed, in MiB.
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Only these subjects.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Folder for report.md and report.json.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    Payload,
    Boot,
    Installed,
    Memory,
    Agent,
    BootServer,
    BootSpeed,
    ColdFiles,
    DhcpSpeed,
    ToScript,
    Many,
    Commit,
}

impl Subject {
    fn id(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Boot => "boot",
            Self::Installed => "installed",
            Self::Memory => "memory",
            Self::Agent => "agent",
            Self::BootServer => "boot-server",
            Self::BootSpeed => "boot-speed",
            Self::ColdFiles => "cold-files",
            Self::DhcpSpeed => "dhcp-speed",
            Self::ToScript => "to-script",
            Self::Many => "many",
            Self::Commit => "commit",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Payload => "Payload",
            Self::Boot => "From power-on to a ready node",
            Self::Installed => "An installed node",
            Self::Memory => "Memory of a netbooted node",
            Self::Agent => "The agent of a seed",
            Self::BootServer => "The boot server",
            Self::BootSpeed => "Speed of the boot server",
            Self::ColdFiles => "Files that are not in memory",
            Self::DhcpSpeed => "Leases",
            Self::ToScript => "From DISCOVER to the script",
            Self::Many => "Many machines at once",
            Self::Commit => "Replicated changes",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Payload => "Sizes in the image's manifest; 1 MB is 10^6 bytes.",
            Self::Boot => {
                "A blank machine (BIOS PXE by the iPXE in the card's ROM, 2 processors, 1 GiB unless said otherwise) in \
                 a new rack each time, armed with a ticket; the clock starts with QEMU's process. The peer is the same \
                 kernel with Debian's busybox as init, which says that it runs and nothing else, served by meadow-pxe \
                 on the same path. Image and peer take turns; ratios are taken round by round. The router is stock \
                 dnsmasq, which pings an address for 3 s before it first offers it: that wait is counted, and shown \
                 apart."
            }
            Self::Installed => {
                "A netbooted BIOS machine with 1 GiB and a blank disk of 4 GiB is installed, switched on from its disk, \
                 opened with `meadow unlock`, and updated to an image that differs in one program. The peer is what the \
                 host takes to write the same files of the image."
            }
            Self::Memory => {
                "BIOS PXE machines get less and less memory (QEMU's -m) until one does not become Ready within four \
                 times the time of the one before."
            }
            Self::Agent => {
                "meadowd as a voter with API, PXE and its own WireGuard in user space (gotatun) where the host's kernel \
                 has none. Watched for 30 s through /proc; syncs are counted for another 30 s with strace."
            }
            Self::BootServer => {
                "meadow-pxe and dnsmasq (proxyDHCP and TFTP, no HTTP) with the image's files, each in its own namespace; \
                 clients ask for blocks of 1428 bytes and windows of 16, which dnsmasq does not know."
            }
            Self::BootSpeed => {
                "meadow-pxe and the others serve the same files, each in a namespace of its own, on one bridge; clients \
                 with an address each in another. All take turns in every round. Processor time is that of the server's \
                 control group, with all its children. Clients take what the kernel sent as one in one call (UDP_GRO), \
                 throw bodies away in the kernel (MSG_TRUNC) and have 4 MiB of room. Blocks have 1428 bytes; dnsmasq and \
                 tftpd-hpa know no windows and send block by block. A bad network is a relay of ours; the law is window \
                 × block ÷ (round trip + the client's time from a window's first block to its last), the round trip \
                 being that of a transfer block by block over the same relay."
            }
            Self::ColdFiles => {
                "While 4 clients fetch a file of 256 MiB over TFTP (windows of 16), or 8 over HTTP, that the kernel was told to forget \
                 (POSIX_FADV_DONTNEED), one more client asks again and again: a file of 256 KiB over TFTP, block by block, or \
                 the boot server's port 4011. The longest time in which it hears nothing is taken. meadow-pxe and dnsmasq take \
                 turns; how long the disk takes for the file is shown, since all of it hangs on that."
            }
            Self::DhcpSpeed => {
                "Full DHCP with leases on disk. Each server in a namespace of its own, clients behind one relay agent, new ones \
                 in every round: 2000 leases (DISCOVER, OFFER, REQUEST, ACK) with 32 clients at once, then 300 offers one \
                 after the other. meadow-pxe syncs each lease before its ACK; Kea (memfile, 2 threads) writes its file and \
                 syncs nothing; dnsmasq runs with --no-ping, as it pings each new address for 3 s otherwise."
            }
            Self::ToScript => {
                "One machine beside a stock router, with meadow-pxe or with dnsmasq as proxyDHCP and TFTP server, by turns. From \
                 the first DISCOVER to the request for the script, as tcpdump sees both on the server; the start of a boot \
                 loader, from its last packet to its own first DISCOVER, is taken off. Each machine boots once before, so that \
                 the router knows its address."
            }
            Self::Many => {
                "500 clients with an address each boot at once from the built image as a BIOS with PXE does: an offer, \
                 undionly.kpxe by TFTP (blocks of 1428 bytes), an offer to iPXE, its script, kernel, initrd, boot.json, \
                 root.img. One thread each; what they get is thrown away in the kernel. No firmware and no machine takes \
                 part."
            }
            Self::Commit => {
                "agent/raft/examples/commit_bench: one voter with 1000 machines in its state. Each round measures raw \
                 fdatasyncs of a growing file, one client and 64 clients, one after the other; then raw fdatasyncs of a \
                 file that was laid out first, which cost the disk no metadata."
            }
        }
    }

    fn measure(self, arguments: &Arguments, progress: &mut Progress) -> Result<Vec<Measure>> {
        match self {
            Self::Payload => payload::measure(&payload::manifest()?),
            Self::Boot => boot::measure(arguments.rounds, arguments.memory, progress),
            Self::Installed => installed::measure(arguments.rounds, progress),
            Self::Memory => memory::measure(progress),
            Self::Agent => agent_usage::measure(progress),
            Self::BootServer => boot_server_usage::measure(arguments.rounds, progress),
            Self::BootSpeed => boot_speed::measure(arguments.rounds, progress),
            Self::ColdFiles => cold_files::measure(arguments.rounds, progress),
            Self::DhcpSpeed => dhcp_speed::measure(arguments.rounds, progress),
            Self::ToScript => to_script::measure(arguments.rounds, progress),
            Self::Many => many::measure(arguments.rounds, progress),
            Self::Commit => commit::measure(arguments.rounds, &paths::cache(), progress),
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    interrupt::catch_signals()?;
    let mut progress = Progress::default();
    let mut report = begin(arguments)?;
    for subject in Subject::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(subject) {
            add(&mut report, *subject, arguments, &mut progress)?;
            // After each subject, so that an interrupted run leaves what it has.
            report.write(&arguments.out)?;
        }
    }
    print!("{}", report.markdown());
    ensure!(report.failures.is_empty(), "not everything could be measured: {}", report.failures.join("; "));
    Ok(())
}

fn begin(arguments: &Arguments) -> Result<Report> {
    let manifest = payload::manifest()?;
    let image = manifest.get("image").and_then(|image| image.as_str()).context("the manifest names no image")?;
    let mut run = RunDir::create()?;
    let accelerator = accelerator::probe(run.path())?;
    run.keep_logs(false);
    Ok(Report {
        version: 1,
        begun: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        image: image.to_owned(),
        host: Host::look()?,
        accelerator: accelerator.to_string(),
        rounds: arguments.rounds,
        sections: Vec::new(),
        failures: Vec::new(),
    })
}

/// Measures one subject. One that fails does not keep the others from being measured.
fn add(report: &mut Report, subject: Subject, arguments: &Arguments, progress: &mut Progress) -> Result<()> {
    let before = host::load();
    match subject.measure(arguments, progress) {
        Ok(measures) => report.sections.push(Section {
            id: subject.id(),
            title: subject.title(),
            how: subject.how().to_owned(),
            load: (before, host::load()),
            measures,
        }),
        Err(error) if error.is::<interrupt::Interrupted>() => return Err(error),
        Err(error) => {
            progress.line(&format!("{}: {error:#}", subject.title()));
            report.failures.push(format!("{}: {error:#}", subject.title()));
        }
    }
    Ok(())
}
