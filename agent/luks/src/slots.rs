//! Key slots and what is known of them.

use libcryptsetup_rs::consts::flags::CryptVolumeKey;
use libcryptsetup_rs::consts::vals::KeyslotInfo;
use libcryptsetup_rs::{CryptTokenInfo, Either, TokenInput};
use meadow_model::Timestamp;
use meadow_model::install::{KeyKind, KeySlot};
use rustix::io::Errno;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::errno;
use crate::key::{self, Key, VOLUME_KEY_BYTES, VolumeKey};
use crate::recovery::RecoveryKey;
use crate::token::Token;
use crate::{LuksError, Volume, messages, pbkdf};

/// Slots and tokens that LUKS2 has room for.
const MOST: u32 = 32;
const LONGEST_LABEL: usize = 64;
const UNKNOWN_LABEL: &str = "unknown: added by other means, or cut off while it was added";

/// What a new slot will be.
#[derive(Clone, Debug, Default)]
pub struct NewSlot<'a> {
    /// For people; 1 to 64 printable characters.
    pub label: &'a str,
    /// When it is made, where the clock is known to be right.
    pub created: Option<Timestamp>,
    /// What else is needed to open it, for keys of machines.
    pub extra: Map<String, Value>,
}

impl Volume {
    /// The key slots, by number. One without a token of ours is told as a passphrase with a label that says so.
    ///
    /// # Errors
    /// [`LuksError::BadToken`], [`LuksError::Library`]
    pub fn keys(&mut self) -> Result<Vec<KeySlot>, LuksError> {
        let tokens = self.tokens()?;
        let active = self.active_slots()?;
        let known = |slot| tokens.iter().map(|(_, token)| token).find(|token| token.slot() == Some(slot));
        let describe = |slot| match known(slot) {
            Some(token) => KeySlot { slot, kind: token.kind, label: token.label.clone(), created: token.created },
            None => KeySlot { slot, kind: KeyKind::Passphrase, label: UNKNOWN_LABEL.to_owned(), created: None },
        };
        Ok(active.into_iter().map(describe).collect())
    }

    /// Our tokens with their numbers, those of machines with what is needed to open their slots.
    ///
    /// # Errors
    /// [`LuksError::BadToken`], [`LuksError::Library`]
    pub fn tokens(&mut self) -> Result<Vec<(u32, Token)>, LuksError> {
        messages::catch();
        let mut tokens = Vec::new();
        for number in 0..MOST {
            let mut handle = self.device.token_handle();
            let status = handle.status(number).map_err(LuksError::library("read the key slot tokens"))?;
            if matches!(status, CryptTokenInfo::Inactive | CryptTokenInfo::Invalid) {
                continue;
            }
            let value = handle.json_get(number).map_err(LuksError::library("read the key slot tokens"))?;
            match Token::parse(value) {
                Some(Ok(token)) => tokens.push((number, token)),
                Some(Err(error)) => return Err(LuksError::BadToken { number, why: error.to_string() }),
                None => {}
            }
        }
        Ok(tokens)
    }

    /// Tries a key on the slots that it may open and gives the volume key. Nothing is opened by that.
    ///
    /// # Errors
    /// [`LuksError::WrongKey`], [`LuksError::NoSlotOfKind`], [`LuksError::AnotherCipher`], [`LuksError::Library`]
    pub fn unlock(&mut self, key: &Key) -> Result<(u32, VolumeKey), LuksError> {
        let slots = self.slots_for(key.kind())?;
        if slots.is_empty() {
            return Err(LuksError::NoSlotOfKind(key::kind_name(key.kind())));
        }
        for slot in slots {
            self.expect_cipher(slot)?;
            if let Some(volume_key) = self.try_slot(slot, key)? {
                return Ok((slot, volume_key));
            }
        }
        Err(LuksError::WrongKey)
    }

    fn try_slot(&mut self, slot: u32, key: &Key) -> Result<Option<VolumeKey>, LuksError> {
        messages::catch();
        let mut bytes = Zeroizing::new(vec![0; VOLUME_KEY_BYTES]);
        match self.device.volume_key_handle().get(Some(slot), &mut bytes, Some(key.bytes())) {
            Ok((_, length)) => {
                bytes.truncate(length);
                Ok(Some(VolumeKey::new(bytes)))
            }
            Err(error) if matches!(errno(&error), Some(Errno::PERM | Errno::NOENT)) => Ok(None),
            Err(error) => Err(LuksError::library("try the key")(error)),
        }
    }

    /// Finds out which slot a key opens.
    ///
    /// # Errors
    /// As [`Volume::unlock`].
    pub fn test(&mut self, key: &Key) -> Result<u32, LuksError> {
        self.unlock(key).map(|(slot, _)| slot)
    }

    /// Adds a key and says what it is; gives the number of its slot.
    ///
    /// A power cut in between leaves a slot that nothing is known of; such a one opens and can be removed.
    ///
    /// # Errors
    /// [`LuksError::BadLabel`], [`LuksError::Full`], [`LuksError::Library`]
    pub fn add(&mut self, volume_key: &VolumeKey, key: &Key, new: NewSlot<'_>) -> Result<u32, LuksError> {
        if new.label.is_empty() || new.label.chars().count() > LONGEST_LABEL || new.label.chars().any(char::is_control)
        {
            return Err(LuksError::BadLabel);
        }
        self.sweep_tokens()?;
        messages::catch();
        let adding = || LuksError::library("add the key");
        self.device.settings_handle().set_pbkdf_type(&pbkdf::for_kind(key.kind())).map_err(adding())?;
        let flags = CryptVolumeKey::empty();
        let slot = match self.device.keyslot_handle().add_by_key(
            None,
            Some(Either::Left(volume_key.bytes())),
            key.bytes(),
            flags,
        ) {
            Ok(slot) => slot,
            Err(_) if self.active_slots()?.len() >= MOST as usize => return Err(LuksError::Full),
            Err(error) => return Err(adding()(error)),
        };
        let token = Token::new(slot, key.kind(), new.label, new.created, new.extra);
        if let Err(error) = self.write_token(None, &token) {
            // The slot would open and nobody would know what it is; where even this fails, the first error counts.
            let _ = self.device.keyslot_handle().destroy(slot);
            return Err(error);
        }
        Ok(slot)
    }

    /// Adds a recovery key; the older ones open as before, until a person has the new one
    /// ([`Volume::end_older_recovery`]). The key is shown once; it is kept nowhere.
    ///
    /// # Errors
    /// As [`Volume::add`].
    pub fn add_recovery(
        &mut self,
        volume_key: &VolumeKey,
        created: Option<Timestamp>,
    ) -> Result<RecoveryKey, LuksError> {
        let recovery = RecoveryKey::generate().map_err(|source| LuksError::Io {
            action: "make a random key for",
            device: self.path.clone(),
            source,
        })?;
        let new = NewSlot { label: "recovery key", created, extra: Map::new() };
        self.add(volume_key, &Key::recovery(&recovery), new)?;
        Ok(recovery)
    }

    /// Removes every recovery key but `kept`, which proves that somebody has it. Cut off anywhere, done again it comes to
    /// its end.
    ///
    /// # Errors
    /// [`LuksError::WrongKey`] and [`LuksError::NoSlotOfKind`] where `kept` is none that opens the volume; nothing is removed
    /// then.
    pub fn end_older_recovery(&mut self, kept: &Key) -> Result<(), LuksError> {
        let opened = self.test(kept)?;
        let slots = self.slots_of(KeyKind::Recovery)?;
        if !slots.contains(&opened) {
            return Err(LuksError::NoSlotOfKind(key::kind_name(KeyKind::Recovery)));
        }
        slots.into_iter().filter(|slot| *slot != opened).try_for_each(|slot| self.remove(slot))
    }

    /// Removes a slot and what is known of it. The last one that a person can open stays.
    ///
    /// # Errors
    /// [`LuksError::NoSuchSlot`], [`LuksError::LastKey`], [`LuksError::Library`]
    pub fn remove(&mut self, slot: u32) -> Result<(), LuksError> {
        let active = self.active_slots()?;
        if !active.contains(&slot) {
            return Err(LuksError::NoSuchSlot(slot));
        }
        // A slot that nothing is known of may be a machine's that was cut off; it counts for nobody.
        let remains = |(_, token): &(u32, Token)| {
            key::is_for_people(token.kind) && token.slot().is_some_and(|other| other != slot && active.contains(&other))
        };
        if !self.tokens()?.iter().any(remains) {
            return Err(LuksError::LastKey(slot));
        }
        messages::catch();
        self.device.keyslot_handle().destroy(slot).map_err(LuksError::library("remove the key slot"))?;
        self.sweep_tokens()
    }

    /// Wipes every slot, the last one too. One that cannot be wiped is left to whoever overwrites the whole header.
    pub(crate) fn destroy_slots(&mut self) {
        messages::catch();
        for slot in self.active_slots().unwrap_or_default() {
            if let Err(error) = self.device.keyslot_handle().destroy(slot) {
                tracing::warn!(slot, ?error, "a key slot is not wiped by itself");
            }
        }
    }

    /// Removes tokens whose slot is gone: what a power cut in [`Volume::remove`] leaves.
    fn sweep_tokens(&mut self) -> Result<(), LuksError> {
        for (number, _) in self.tokens()?.into_iter().filter(|(_, token)| token.slot().is_none()) {
            let input = TokenInput::RemoveToken(number);
            self.device.token_handle().json_set(input).map_err(LuksError::library("remove a token"))?;
        }
        Ok(())
    }

    fn write_token(&mut self, number: Option<u32>, token: &Token) -> Result<(), LuksError> {
        messages::catch();
        let json = serde_json::to_value(token)
            .map_err(|error| LuksError::Library { action: "write down what the key is", why: error.to_string() })?;
        let input = match number {
            Some(number) => TokenInput::ReplaceToken(number, &json),
            None => TokenInput::AddToken(&json),
        };
        self.device.token_handle().json_set(input).map(|_| ()).map_err(LuksError::library("write down what the key is"))
    }

    /// Slots that a key of this kind may open, the cheapest to try first.
    fn slots_for(&mut self, kind: KeyKind) -> Result<Vec<u32>, LuksError> {
        let mut slots = self.slots_of(kind)?;
        if kind == KeyKind::Recovery {
            slots.extend(self.slots_of(KeyKind::Passphrase)?);
        }
        Ok(slots)
    }

    fn slots_of(&mut self, kind: KeyKind) -> Result<Vec<u32>, LuksError> {
        Ok(self.keys()?.into_iter().filter(|key| key.kind == kind).map(|key| key.slot).collect())
    }

    fn active_slots(&mut self) -> Result<Vec<u32>, LuksError> {
        messages::catch();
        let mut active = Vec::new();
        for slot in 0..MOST {
            let status = self.device.keyslot_handle().status(slot).map_err(LuksError::library("read the key slots"))?;
            if matches!(status, KeyslotInfo::Active | KeyslotInfo::ActiveLast) {
                active.push(slot);
            }
        }
        Ok(active)
    }

    /// Makes sure that a volume key is this volume's; [`Volume::activate`] does so by itself.
    ///
    /// # Errors
    /// [`LuksError::WrongKey`]
    pub fn verify(&mut self, volume_key: &VolumeKey) -> Result<(), LuksError> {
        messages::catch();
        self.device.volume_key_handle().verify(volume_key.bytes()).map_err(|_| LuksError::WrongKey)
    }
}
