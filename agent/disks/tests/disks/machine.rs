//! A computer whose disks are files, and whose partitions are loop devices over parts of them. It keeps state as a real
//! one does: what was written is what the next look finds. In place of dm-crypt a loop device shows the volume's data as
//! it lies there, once the key is right.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meadow_disks::{Area, DiskError, GrubEnv, Machine, Measured};
use meadow_luks::{Volume, VolumeKey};
use meadow_model::Name;
use meadow_model::Timestamp;
use meadow_model::boot::BootReport;
use meadow_model::hardware::{Disk, DiskPartition, Hardware};
use meadow_model::install::{BootSlot, InstallMode, Partition};
use meadow_plan::install;
use meadow_power::{Recorder, WriteLog};
use meadow_tpm::{Tpm, TpmError};
use rustix::fs::{FlockOperation, flock};

use crate::chip::Chip;
use crate::stock;

/// Where the data of a LUKS2 volume begins.
pub(crate) const DATA_OFFSET: u64 = 16 << 20;

pub(crate) struct Loop(PathBuf);

impl Loop {
    pub(crate) fn over(file: &Path, offset: u64, size: Option<u64>) -> Self {
        Self::with(file, offset, size, &[])
    }

    /// One that nothing can be written to.
    fn protected(file: &Path, offset: u64, size: Option<u64>) -> Self {
        Self::with(file, offset, size, &["--read-only"])
    }

    fn with(file: &Path, offset: u64, size: Option<u64>, options: &[&str]) -> Self {
        let offset = format!("--offset={offset}");
        let size = size.map(|size| format!("--sizelimit={size}"));
        let file = file.to_str().unwrap();
        let place = ["--find", "--show", &offset].into_iter().chain(size.as_deref());
        let arguments: Vec<&str> = place.chain(options.iter().copied()).chain([file]).collect();
        Self::found(stock("losetup", &arguments).trim())
    }

    /// One that is attached.
    pub(crate) fn found(device: &str) -> Self {
        Self(PathBuf::from(device))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        stock("losetup", &["--detach", self.0.to_str().unwrap()]);
    }
}

/// One such computer at a time: for the moment between fork and exec, a program that another test starts holds what this
/// one has open, and a file system cannot be unmounted then.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) struct MadeUp {
    folder: PathBuf,
    disks: RefCell<Vec<Disk>>,
    partitions: RefCell<BTreeMap<(String, u64), Loop>>,
    state: RefCell<Option<Loop>>,
    opened: RefCell<Option<String>>,
    running: RefCell<Option<(String, BootSlot)>>,
    restarts: Cell<u32>,
    pub(crate) tpm: RefCell<Option<Chip>>,
    pub(crate) measured: RefCell<Option<Measured>>,
    stick: RefCell<bool>,
    steady: RefCell<Vec<bool>>,
    protected: RefCell<BTreeMap<String, Loop>>,
    made: RefCell<Option<tempfile::TempDir>>,
    // Dropped last.
    _alone: MutexGuard<'static, ()>,
}

impl MadeUp {
    /// A computer with one blank disk `sda`, whose serial number is `S1`.
    pub(crate) fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self::without_disks(folder.path().to_owned(), Some(folder));
        made.plug_in("sda", "S1", bytes);
        made
    }

    /// The computer of another process, which has its disk `sda` in that folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let found = Self::without_disks(folder.to_owned(), None);
        found.plug_in_copy("sda", "S1");
        found
    }

    fn without_disks(folder: PathBuf, made: Option<tempfile::TempDir>) -> Self {
        Self {
            folder,
            disks: RefCell::default(),
            partitions: RefCell::default(),
            state: RefCell::default(),
            opened: RefCell::default(),
            running: RefCell::default(),
            restarts: Cell::default(),
            tpm: RefCell::default(),
            measured: RefCell::default(),
            stick: RefCell::default(),
            steady: RefCell::default(),
            protected: RefCell::default(),
            made: RefCell::new(made),
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn plug_in(&self, name: &str, serial: &str, bytes: u64) {
        File::create(self.folder.join(name)).unwrap().set_len(bytes).unwrap();
        self.plug_in_copy(name, serial);
    }

    /// Plugs in a disk whose file is there already.
    pub(crate) fn plug_in_copy(&self, name: &str, serial: &str) {
        let bytes = fs::metadata(self.folder.join(name)).unwrap().len();
        let disk =
            Disk { name: name.to_owned(), serial: Some(serial.to_owned()), size_bytes: bytes, ..Disk::default() };
        self.disks.borrow_mut().push(disk);
    }

    /// What the next start of this computer comes from.
    pub(crate) fn boots(&self, serial: &str, slot: BootSlot) {
        *self.running.borrow_mut() = Some((serial.to_owned(), slot));
    }

    /// How often it was restarted by itself.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.get()
    }

    /// What GRUB does before it boots the slot that it was to try.
    pub(crate) fn grub_tries(&self) {
        self.grub_notes(|environment| environment.trial = environment.tried.take());
    }

    /// What GRUB does before it boots a slot that it was not told to try.
    pub(crate) fn grub_counts(&self, failures: u8) {
        self.grub_notes(|environment| (environment.trial, environment.failures) = (None, failures));
    }

    fn grub_notes(&self, change: impl FnOnce(&mut GrubEnv)) {
        let found = install::plan(
            &Name::new("node-1").unwrap(),
            &Hardware { disks: self.disks(), ..Hardware::default() },
            "S1",
            InstallMode::System,
        );
        let esp = found.unwrap().partitions.into_iter().find(|part| part.name == "meadow-esp").unwrap();
        let device = self.partition_node("sda", &esp);
        let file = fs::OpenOptions::new().read(true).write(true).open(device).unwrap();
        let system = fatfs::FileSystem::new(file, fatfs::FsOptions::new()).unwrap();
        let mut file = system.root_dir().open_file("meadow/grubenv").unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let mut environment = GrubEnv::parse(&bytes).unwrap();
        change(&mut environment);
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&environment.bytes()).unwrap();
    }

    /// The next start comes from the stick with that serial number.
    pub(crate) fn boots_stick(&self, serial: &str) {
        self.boots(serial, BootSlot::A);
        *self.stick.borrow_mut() = true;
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Disk)) {
        change(self.disks.borrow_mut().iter_mut().find(|disk| disk.name == name).unwrap());
    }

    /// Sets a stick's write-protect switch, before anything of it is used.
    pub(crate) fn protect(&self, name: &str) {
        self.partitions.borrow_mut().retain(|(of, _), _| of != name);
        let device = Loop::protected(&self.folder.join(name), 0, None);
        self.protected.borrow_mut().insert(name.to_owned(), device);
        self.change(name, |disk| disk.read_only = true);
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the folder of a test that fails, so that its disk can be looked at; says where it is.
    pub(crate) fn keep(&self) -> String {
        if let Some(made) = self.made.borrow_mut().as_mut() {
            made.disable_cleanup(true);
        }
        format!("{} is kept", self.folder.display())
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.disk_node("sda")
    }

    /// The disk `sda` as it was when its writes began to be recorded.
    pub(crate) fn base(&self) -> PathBuf {
        self.folder.join("base")
    }

    /// What `work` writes to the disk `sda`.
    pub(crate) fn record<T>(&self, work: impl FnOnce() -> T) -> (T, WriteLog) {
        self.restart_hard();
        let recorder = Recorder::start(&self.disk(), &self.base(), &self.folder.join("log")).unwrap();
        let made = work();
        self.restart_hard();
        (made, recorder.stop().unwrap())
    }

    /// Detaches the loop devices that a process left over the disk which was killed; what it wrote to them is on the disk.
    pub(crate) fn detach_left_behind(&self) {
        let disk = self.disk();
        let left = stock("losetup", &["--noheadings", "--output", "NAME", "--associated", disk.to_str().unwrap()]);
        left.split_whitespace().for_each(|device| drop(Loop::found(device)));
    }

    /// Somebody opened the state of this disk at the start, so that it is `/var` now.
    pub(crate) fn unlocks(&self, disk: &str) {
        *self.opened.borrow_mut() = Some(disk.to_owned());
    }

    /// Whether a disk was locked, so that udev kept off, each time that the place of one of its partitions was asked for.
    pub(crate) fn was_steady(&self) -> Vec<bool> {
        self.steady.take()
    }

    /// What a power cut or a restart takes: everything but the disks.
    pub(crate) fn restart_hard(&self) {
        self.opened.borrow_mut().take();
        self.state.borrow_mut().take();
        self.partitions.borrow_mut().clear();
    }
}

impl Machine for MadeUp {
    fn disks(&self) -> Vec<Disk> {
        let look = |disk: &Disk| {
            let mut disk = disk.clone();
            let file = File::open(self.disk_node(&disk.name)).unwrap();
            if let Ok(gpt) = gptman::GPT::find_from(&mut &file) {
                disk.signature = Some("gpt".to_owned());
                let used = gpt.iter().filter(|(_, entry)| entry.is_used());
                disk.partitions = used
                    .map(|(number, entry)| DiskPartition {
                        number,
                        name: Some(entry.partition_name.as_str().to_owned()),
                        size_bytes: entry.size().unwrap() * gpt.sector_size,
                        ..DiskPartition::default()
                    })
                    .collect();
            }
            disk
        };
        self.disks.borrow().iter().map(look).collect()
    }

    fn disk_node(&self, disk: &str) -> PathBuf {
        let protected = self.protected.borrow();
        protected.get(disk).map_or_else(|| self.folder.join(disk), |device| device.path().to_owned())
    }

    fn partition_node(&self, disk: &str, partition: &Partition) -> PathBuf {
        let node = File::open(self.disk_node(disk)).unwrap();
        self.steady.borrow_mut().push(flock(&node, FlockOperation::NonBlockingLockExclusive).is_err());
        let mut partitions = self.partitions.borrow_mut();
        let device = partitions.entry((disk.to_owned(), partition.start)).or_insert_with(|| {
            let make = if self.protected.borrow().contains_key(disk) { Loop::protected } else { Loop::over };
            make(&self.folder.join(disk), partition.start, Some(partition.size))
        });
        device.path().to_owned()
    }

    fn reread(&self, disk: &str, _device: &Area, _partitions: &[Partition]) -> Result<(), DiskError> {
        self.partitions.borrow_mut().retain(|(of, _), _| of != disk);
        Ok(())
    }

    fn boot_report(&self) -> Option<BootReport> {
        let (disk, slot) = self.running.borrow().clone()?;
        let stick = *self.stick.borrow();
        Some(BootReport { disk: Some(disk), slot: Some(slot), stick, ..BootReport::default() })
    }

    fn state_disk(&self) -> Option<String> {
        self.opened.borrow().clone()
    }

    fn open_state(&self, volume: &mut Volume, key: &VolumeKey) -> Result<PathBuf, DiskError> {
        volume.verify(key)?;
        let partitions = self.partitions.borrow();
        let holds = |device: &&Loop| Volume::open(device.path()).is_ok_and(|found| found.uuid() == volume.uuid());
        let device = Loop::over(partitions.values().find(holds).unwrap().path(), DATA_OFFSET, None);
        let path = device.path().to_owned();
        *self.state.borrow_mut() = Some(device);
        Ok(path)
    }

    fn close_state(&self) -> Result<(), DiskError> {
        self.state.borrow_mut().take();
        Ok(())
    }

    fn mount_point(&self) -> PathBuf {
        self.folder.join("mounted")
    }

    fn stick_folder(&self) -> PathBuf {
        self.folder.join("stick-image")
    }

    fn header_file(&self) -> PathBuf {
        self.folder.join("header")
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn measured(&self) -> Option<Measured> {
        self.measured.borrow().clone()
    }

    fn tpm(&self) -> Result<Tpm, TpmError> {
        self.tpm.borrow().as_ref().map(Chip::connect).ok_or(TpmError::NoTpm)
    }

    fn restart(&self) -> Result<(), DiskError> {
        self.restarts.set(self.restarts.get() + 1);
        self.restart_hard();
        Ok(())
    }
}
