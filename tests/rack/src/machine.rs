//! One machine of the rack.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::stat::Mode;
use serde_json::json;

use crate::accelerator::Accelerator;
use crate::card::Card;
use crate::efi_variables;
use crate::firmware::{Firmware, Ovmf};
use crate::lan::Lan;
use crate::process::Program;
use crate::qemu::{DISK, Hardware, SERIAL, STICK};
use crate::qmp;
use crate::run_dir::RunDir;
use crate::serial::SerialLog;
use crate::tpm::Tpm;

/// Size of a blank disk, in bytes; it takes no space until something is written.
const DISK_BYTES: u64 = 4 << 30;
/// Under TCG about one QEMU in forty hangs before the first byte. One that printed nothing for this long is started
/// again, once; nothing else is ever tried twice.
const SILENCE: Duration = Duration::from_secs(30);

/// A computer made of QEMU.
#[derive(Debug)]
pub struct Machine {
    hardware: Hardware,
    serial: SerialLog,
    log: PathBuf,
    program: Option<Program>,
    tpm: Option<Tpm>,
    tpm_program: Option<Program>,
    /// Where somebody types, once somebody has.
    keyboard: Option<File>,
    started: Option<Instant>,
    boot_offset: u64,
    restarts: u32,
}

impl Drop for Machine {
    /// Where a test fails, the registers of its processors are kept beside its logs: they tell a system that hangs from one that
    /// waits for something, and where.
    fn drop(&mut self) {
        if self.program.is_none() || !std::thread::panicking() {
            return;
        }
        let command = json!({"command-line": "info registers -a"});
        let registers = qmp::execute(&self.hardware.control, "human-monitor-command", &command);
        let text =
            registers.map_or_else(|error| format!("{error:#}"), |text| text.as_str().unwrap_or_default().to_owned());
        let file = self.hardware.control.with_extension("registers.log");
        if let Err(error) = fs::write(&file, text) {
            eprintln!("{} cannot be written: {error}", file.display());
        }
    }
}

/// What a new machine is made of.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its number from 1 on; it becomes `node-<number>`.
    pub number: u8,
    /// How it boots.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What runs it.
    pub accelerator: Accelerator,
}

impl Machine {
    /// Puts it into the rack: a blank disk, a port of the LAN, no power.
    ///
    /// # Errors
    /// When the disk or the port cannot be made or the firmware is missing.
    pub fn install(run: &RunDir, lan: &Lan, wanted: &Wanted) -> Result<Self> {
        let name = format!("node-{}", wanted.number);
        let disk = run.file(format!("{name}.disk"));
        File::create_new(&disk)
            .and_then(|file| file.set_len(DISK_BYTES))
            .with_context(|| format!("cannot make the disk {}", disk.display()))?;
        let ovmf = match wanted.firmware {
            Firmware::BiosPxe => None,
            firmware => {
                let variables = run.file(format!("{name}.fd"));
                let found = if firmware.is_arm64() { Ovmf::find_arm64()? } else { Ovmf::find()? };
                fs::copy(&found.variables, &variables).context("cannot copy the firmware's variables")?;
                Some(Ovmf { variables, ..found })
            }
        };
        let serial = run.file(format!("{name}.serial.log"));
        let hardware = Hardware {
            firmware: wanted.firmware,
            ovmf,
            accelerator: wanted.accelerator,
            memory_mib: wanted.memory_mib,
            processors: 2,
            mac: format!("52:54:00:{}:{:02x}", colons(run.id().get(..4).unwrap_or("0000")), wanted.number),
            uuid: format!("{}00-0000-4000-8000-{:012x}", run.id(), wanted.number),
            tap: lan.tap(usize::from(wanted.number))?,
            disk,
            write_log: None,
            disk_first: false,
            stick: None,
            stick_first: true,
            stick_protected: false,
            control: run.file(format!("{name}.qmp")),
            serial: serial.clone(),
            card: Card::default(),
            card_has_rom: wanted.firmware == Firmware::BiosPxe,
            name: name.clone(),
            tpm: None,
            command_line: None,
        };
        let log = run.file(format!("{name}.qemu.log"));
        Ok(Self {
            hardware,
            serial: SerialLog::new(&serial),
            log,
            program: None,
            tpm: None,
            tpm_program: None,
            keyboard: None,
            started: None,
            boot_offset: 0,
            restarts: 0,
        })
    }

    /// Its name in the rack, which it also gets as a node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.hardware.name
    }

    /// What it is made of.
    #[must_use]
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// From the next time that it is switched on, it tries its disk before the network.
    pub fn boot_from_disk(&mut self) {
        self.hardware.disk_first = true;
    }

    /// From the next time that it is switched on, it has this network card, with or without a ROM.
    pub fn fit_card(&mut self, card: Card, with_rom: bool) {
        (self.hardware.card, self.hardware.card_has_rom) = (card, with_rom);
    }

    /// Switches Secure Boot on with this certificate (DER) as its only key. Its firmware forgets everything else.
    ///
    /// # Errors
    /// When it has no UEFI, or the firmware is missing.
    pub fn enrol(&mut self, certificate: &[u8]) -> Result<()> {
        let ovmf = self.hardware.ovmf.as_mut().context("a BIOS has no Secure Boot")?;
        let secure = Ovmf::find_secure()?;
        fs::copy(&secure.variables, &ovmf.variables).context("cannot copy the firmware's variables")?;
        efi_variables::enrol(&ovmf.variables, certificate)?;
        *ovmf = Ovmf { variables: ovmf.variables.clone(), ..secure };
        Ok(())
    }

    /// Plugs in a TPM, in place of the one that it has.
    pub fn plug_in_tpm(&mut self, tpm: Tpm) {
        self.hardware.tpm = Some(tpm.control());
        self.tpm = Some(tpm);
    }

    /// From the next time that it is switched on, its SMBIOS adds this to the command line of a unified kernel image.
    pub fn add_to_command_line(&mut self, text: &str) {
        self.hardware.command_line = Some(text.to_owned());
    }

    /// From the next time that it is switched on, this stick is plugged in, and tried first.
    pub fn plug_in(&mut self, stick: PathBuf) {
        (self.hardware.stick, self.hardware.stick_first) = (Some(stick), true);
    }

    /// From the next time that it is switched on, nobody can write to the stick that is plugged in.
    pub fn protect_stick(&mut self) {
        self.hardware.stick_protected = true;
    }

    /// From the next time that it is switched on, this stick is plugged in, and tried after all others.
    pub fn plug_in_behind(&mut self, stick: PathBuf) {
        (self.hardware.stick, self.hardware.stick_first) = (Some(stick), false);
    }

    /// From the next time that it is switched on, no stick is plugged in.
    pub fn pull_stick(&mut self) {
        (self.hardware.stick, self.hardware.stick_protected) = (None, false);
    }

    /// From the next time that it is switched on, every write to its disk is recorded in `log`; what the disk holds before,
    /// lies in `base`.
    ///
    /// # Errors
    /// When the disk cannot be copied.
    pub fn record_writes(&mut self, base: &Path, log: &Path) -> Result<()> {
        let copied = Command::new("cp").arg("--sparse=always").args([self.hardware.disk.as_path(), base]).status();
        anyhow::ensure!(copied.context("cannot run cp")?.success(), "cannot copy the disk of {}", self.name());
        File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        self.hardware.write_log = Some(log.to_owned());
        Ok(())
    }

    /// From the next time that it is switched on, no write is recorded.
    pub fn stop_recording(&mut self) {
        self.hardware.write_log = None;
    }

    /// Its serial line.
    #[must_use]
    pub fn serial(&self) -> &SerialLog {
        &self.serial
    }

    /// What its serial line has shown of this boot.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn boot_text(&self) -> Result<String> {
        self.serial.text_from(self.boot_offset)
    }

    /// Types on its serial line.
    ///
    /// # Errors
    /// When it is off.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        let keyboard = match &mut self.keyboard {
            Some(keyboard) => keyboard,
            None => self.keyboard.insert(attach_keyboard(&self.hardware)?),
        };
        keyboard.write_all(text.as_bytes()).with_context(|| format!("cannot type at {}", self.hardware.name))
    }

    /// How often it was started again because it hung before its first byte.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Time since it was powered on or reset.
    #[must_use]
    pub fn uptime(&self) -> Option<Duration> {
        self.started.map(|started| started.elapsed())
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When QEMU does not start or it is on already.
    pub fn power_on(&mut self, run: &mut RunDir, lan: &Lan) -> Result<()> {
        if self.program.is_some() {
            bail!("{} is on already", self.name());
        }
        // QEMU begins a new log; the old one must not be taken for it until then.
        self.serial.forget()?;
        self.boot_offset = 0;
        if let Some(tpm) = &self.tpm {
            self.tpm_program = Some(tpm.start_for_machine(run, lan.namespace())?);
        }
        let mut command = lan.namespace().command(self.hardware.program());
        command.args(self.hardware.arguments());
        self.program = Some(lan.namespace().start(run, command, &self.log)?);
        self.started = Some(Instant::now());
        Ok(())
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// When QEMU cannot be killed.
    pub fn power_off(&mut self) -> Result<()> {
        if let Some(mut program) = self.program.take() {
            program.kill().with_context(|| format!("cannot kill {}", self.hardware.name))?;
        }
        // It ends by itself with the machine; where it hangs it is ended.
        self.tpm_program = None;
        self.keyboard = None;
        self.started = None;
        Ok(())
    }

    /// It will restart by itself at some time: what its serial line shows from now on is a new boot, and silence until
    /// then is none of a machine that hangs.
    pub fn expect_restart(&mut self) {
        self.boot_offset = self.serial.len();
        self.started = None;
    }

    /// Presses its reset button.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn reset(&mut self) -> Result<()> {
        self.boot_offset = self.serial.len();
        qmp::execute(&self.hardware.control, "system_reset", &json!({}))?;
        self.started = Some(Instant::now());
        Ok(())
    }

    /// Pulls its network cable, or puts it in again. A machine that is switched on has it in.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn set_cable(&self, plugged_in: bool) -> Result<()> {
        qmp::execute(&self.hardware.control, "set_link", &json!({"name": "n0", "up": plugged_in})).map(drop)
    }

    /// Tears out its disk while it runs. The disk is there again when it is switched on the next time.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn tear_out_disk(&self) -> Result<()> {
        qmp::execute(&self.hardware.control, "device_del", &json!({"id": DISK})).map(drop)
    }

    /// Pulls its stick while it runs.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn tear_out_stick(&mut self) -> Result<()> {
        self.pull_stick();
        qmp::execute(&self.hardware.control, "device_del", &json!({"id": STICK})).map(drop)
    }

    /// Looks after it: fails when QEMU has ended, and starts it again once when it hung before its first byte.
    ///
    /// # Errors
    /// When QEMU has ended or hung twice.
    pub fn look_after(&mut self, run: &mut RunDir, lan: &Lan) -> Result<()> {
        let Some(program) = &mut self.program else { return Ok(()) };
        if let Some(status) = program.exited()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            bail!("QEMU of {} ended ({status}): {}", self.name(), log.trim());
        }
        let silent = self.serial.len() <= self.boot_offset && self.uptime().is_some_and(|uptime| uptime > SILENCE);
        if !silent {
            return Ok(());
        }
        if self.restarts > 0 {
            bail!(
                "{} printed nothing within {} s, twice; look at {}",
                self.name(),
                SILENCE.as_secs(),
                self.log.display()
            );
        }
        self.restarts += 1;
        self.power_off()?;
        self.power_on(run, lan)
    }

    /// The milestones of the boot that runs now, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn milestones(&self) -> Result<Vec<String>> {
        self.serial.milestones(self.boot_offset)
    }
}

/// Lets QEMU read the serial line from a FIFO, and go on writing what comes over it where it does. (A socket would do both, and
/// where it is slow its log has bytes twice.)
fn attach_keyboard(hardware: &Hardware) -> Result<File> {
    let fifo = hardware.serial.with_extension("keyboard");
    if !fifo.exists() {
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).context("cannot make a keyboard")?;
    }
    // Open for both, so that nobody waits for the other end.
    let keyboard = File::options().read(true).write(true).open(&fifo).context("cannot open the keyboard")?;
    let file = json!({"out": hardware.serial, "in": fifo, "append": true});
    let change = json!({"id": SERIAL, "backend": {"type": "file", "data": file}});
    qmp::execute(&hardware.control, "chardev-change", &change)?;
    Ok(keyboard)
}

/// `a1b2` → `a1:b2`.
fn colons(digits: &str) -> String {
    let (first, second) = digits.split_at_checked(2).unwrap_or((digits, ""));
    format!("{first}:{second}")
}
