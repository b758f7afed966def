//! QEMU's command line for one machine.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::accelerator::Accelerator;
use crate::card::Card;
use crate::firmware::{Firmware, Ovmf};

/// Everything that QEMU is told of a machine.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Its name, as QEMU and the serial number of its disk show it.
    pub name: String,
    /// How it boots.
    pub firmware: Firmware,
    /// Flash images; only for UEFI.
    pub ovmf: Option<Ovmf>,
    /// What runs it.
    pub accelerator: Accelerator,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Number of processors.
    pub processors: u32,
    /// Hardware address of its one network card.
    pub mac: String,
    /// The port of the LAN that it is plugged into.
    pub tap: String,
    /// Its disk, a raw file.
    pub disk: PathBuf,
    /// Where every write to the disk is recorded; `None` where none is.
    pub write_log: Option<PathBuf>,
    /// Whether firmware tries the disk before the network.
    pub disk_first: bool,
    /// A stick that is plugged in, a raw file.
    pub stick: Option<PathBuf>,
    /// Whether firmware tries the stick before all others, or after them.
    pub stick_first: bool,
    /// Whether the stick's write-protect switch is on.
    pub stick_protected: bool,
    /// Where its serial line is written.
    pub serial: PathBuf,
    /// Socket of QEMU's control.
    pub control: PathBuf,
    /// Its network card.
    pub card: Card,
    /// Whether the card has QEMU's ROM, an iPXE for BIOS and UEFI. A BIOS has no driver of its own; OVMF has one for
    /// virtio.
    pub card_has_rom: bool,
    /// Its SMBIOS UUID.
    pub uuid: String,
    /// The control socket of its TPM, where it has one.
    pub tpm: Option<PathBuf>,
    /// What its SMBIOS adds to the command line of a unified kernel image; systemd-stub(7) measures it into PCR 12.
    pub command_line: Option<String>,
}

/// HTTP boot is tried first only where the rest is off: OVMF would spend 70 s on IPv6 and then take PXE.
const HTTP_ONLY: [&str; 3] = ["IPv4PXESupport", "IPv6PXESupport", "IPv6Support"];

impl Hardware {
    /// The program that plays it.
    #[must_use]
    pub fn program(&self) -> &'static str {
        if self.firmware.is_arm64() { "qemu-system-aarch64" } else { "qemu-system-x86_64" }
    }

    /// The program's arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        let accelerator = if self.firmware.is_arm64() { Accelerator::Tcg } else { self.accelerator };
        arguments.add("-name", &self.name).add("-accel", accelerator.argument()).add("-uuid", &self.uuid);
        arguments.add("-m", self.memory_mib.to_string()).add("-smp", self.processors.to_string());
        // Nothing but what is listed: fewer devices, quicker boot.
        arguments.flag("-nodefaults").add("-display", "none").add("-monitor", "none");
        // Somebody may type there; what is written goes to the file whether anybody listens or not.
        arguments.add("-chardev", format!("file,id={SERIAL},path={}", self.serial.display()));
        arguments.add("-serial", format!("chardev:{SERIAL}"));
        arguments.add("-qmp", format!("unix:{},server=on,wait=off", self.control.display()));
        self.add_firmware(&mut arguments);
        arguments.add("-netdev", format!("tap,id=n0,ifname={},script=no,downscript=no", self.tap));
        arguments.add("-device", self.network_card());
        arguments.add("-drive", self.disk_drive());
        let turn = if self.disk_first { 1 } else { 3 };
        arguments.add("-device", format!("virtio-blk-pci,id={DISK},drive=d0,serial={},bootindex={turn}", self.name));
        if let Some(stick) = &self.stick {
            arguments.add("-device", "qemu-xhci,id=usb");
            let protected = if self.stick_protected { "on" } else { "off" };
            arguments.add("-drive", format!("if=none,id=s0,format=raw,readonly={protected},file={}", stick.display()));
            let serial = stick_serial(&self.name);
            let turn = if self.stick_first { 0 } else { 9 };
            let device = format!("usb-storage,bus=usb.0,drive=s0,removable=on,serial={serial},bootindex={turn}");
            arguments.add("-device", format!("{device},id={STICK}"));
        }
        // Without a source of randomness OVMF shows no PXE entry, and a guest waits for its first key.
        arguments.add("-device", "virtio-rng-pci");
        if let Some(control) = &self.tpm {
            arguments.add("-chardev", format!("socket,id=tpm,path={}", control.display()));
            arguments.add("-tpmdev", "emulator,id=tpm0,chardev=tpm").add("-device", "tpm-crb,tpmdev=tpm0");
        }
        if let Some(text) = &self.command_line {
            // A comma begins the next option of QEMU's.
            let text = text.replace(',', ",,");
            arguments.add("-smbios", format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={text}"));
        }
        arguments.0
    }

    fn add_firmware(&self, arguments: &mut Arguments) {
        match &self.ovmf {
            // With `graphics=off` SeaBIOS writes to the serial line, so a machine that hangs early can be told.
            None => drop(arguments.add("-machine", "pc,graphics=off")),
            Some(ovmf) => {
                // The code with Secure Boot keeps its variables from everybody but the firmware itself.
                let smm = if ovmf.secure_boot { "on" } else { "off" };
                if self.firmware.is_arm64() {
                    arguments.add("-machine", "virt").add("-cpu", "cortex-a57");
                } else {
                    arguments.add("-machine", format!("q35,smm={smm}"));
                }
                if ovmf.secure_boot {
                    arguments.add("-global", "driver=cfi.pflash01,property=secure,value=on");
                }
                arguments
                    .add("-drive", format!("if=pflash,format=raw,unit=0,readonly=on,file={}", ovmf.code.display()));
                arguments.add("-drive", format!("if=pflash,format=raw,unit=1,file={}", ovmf.variables.display()));
                if self.firmware.is_http() {
                    for option in HTTP_ONLY {
                        arguments.add("-fw_cfg", format!("name=opt/org.tianocore/{option},string=no"));
                    }
                }
            }
        }
    }

    fn disk_drive(&self) -> String {
        let disk = self.disk.display();
        match &self.write_log {
            None => format!("if=none,id=d0,format=raw,discard=unmap,file={disk}"),
            Some(log) => format!(
                "if=none,id=d0,driver=blklogwrites,discard=unmap,log-sector-size=512,file.driver=raw,file.discard=unmap,\
                 file.file.driver=file,file.file.filename={disk},log.driver=file,log.filename={}",
                log.display()
            ),
        }
    }

    fn network_card(&self) -> String {
        let rom = if self.card_has_rom { "" } else { ",romfile=" };
        format!("{},netdev=n0,mac={},bootindex=2{rom}", self.card.device(), self.mac)
    }
}

/// What QEMU calls its end of the serial line.
pub(crate) const SERIAL: &str = "serial";

/// What QEMU calls the disk.
pub(crate) const DISK: &str = "disk";

/// What QEMU calls the stick.
pub(crate) const STICK: &str = "stick";

/// Serial number of the stick in a machine.
#[must_use]
pub fn stick_serial(machine: &str) -> String {
    format!("stick-{machine}")
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn add(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(firmware: Firmware) -> String {
        let ovmf = (firmware != Firmware::BiosPxe).then(|| Ovmf {
            code: "/code.fd".into(),
            variables: "/vars.fd".into(),
            secure_boot: false,
        });
        let hardware = Hardware {
            name: "node-1".to_owned(),
            firmware,
            ovmf,
            accelerator: Accelerator::Tcg,
            memory_mib: 1024,
            processors: 2,
            mac: "52:54:00:00:00:01".to_owned(),
            tap: "tap1".to_owned(),
            disk: "/d.disk".into(),
            write_log: None,
            disk_first: false,
            stick: None,
            stick_first: true,
            stick_protected: false,
            serial: "/s.log".into(),
            control: "/c.sock".into(),
            card: Card::Virtio,
            card_has_rom: firmware == Firmware::BiosPxe,
            uuid: "00000000-0000-4000-8000-000000000001".to_owned(),
            tpm: None,
            command_line: None,
        };
        hardware.arguments().iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_firmware_gets_its_rom_flash_and_options() {
        for (firmware, rom, flash, http) in [
            (Firmware::BiosPxe, true, false, false),
            (Firmware::UefiPxe, false, true, false),
            (Firmware::UefiHttp, false, true, true),
        ] {
            let line = line(firmware);
            assert_eq!(!line.contains("romfile="), rom, "{line}");
            assert_eq!(line.contains("if=pflash"), flash, "{line}");
            assert_eq!(line.contains("IPv4PXESupport,string=no"), http, "{line}");
        }
    }
}
