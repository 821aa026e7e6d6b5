//! Logins that are taken over from one data centre to another.
//!
//! Owns what the one hands out and the other takes. Such a login is at home where it was, and no session of its account.

use grammers_tl_types::{Serializable as _, enums, functions, types};

use super::{LoginCaller, refused};
use crate::account_id::AccountId;
use crate::base::sync::Mutex;
use crate::sandbox::response::RpcError;

const TRANSFER_LEN: usize = 64;
/// So many may be on the way at once; the oldest is forgotten.
const TRANSFERS_MAX: usize = 1_000;

/// A login on its way.
struct LoginTransfer {
    bytes: Vec<u8>,
    account: AccountId,
    to: i32,
}

#[derive(Default)]
pub(super) struct LoginTransfers(Mutex<Vec<LoginTransfer>>);

impl LoginCaller<'_> {
    pub(super) fn export_login(&mut self, to: i32) -> Result<Vec<u8>, RpcError> {
        let user = self.user.ok_or(RpcError::new(401, "AUTH_KEY_UNREGISTERED"))?;
        self.check_home(user, "USER")?;
        if to == self.server.dc || self.server.world.address(to).is_none() {
            return Err(refused("DC_ID_INVALID"));
        }
        let bytes: Vec<u8> = (0..TRANSFER_LEN).map(|_| self.random.u8(..)).collect();
        let transfer = LoginTransfer { bytes: bytes.clone(), account: user.account, to };
        let mut transfers = self.server.world.logins.transfers.0.lock();
        if transfers.len() == TRANSFERS_MAX {
            transfers.remove(0);
        }
        transfers.push(transfer);
        let exported = types::auth::ExportedAuthorization { id: user.id, bytes };
        Ok(enums::auth::ExportedAuthorization::Authorization(exported).to_bytes())
    }

    pub(super) fn import_login(
        &mut self,
        call: &functions::auth::ImportAuthorization,
    ) -> Result<Vec<u8>, RpcError> {
        let here = self.server.dc;
        let account = {
            let mut transfers = self.server.world.logins.transfers.0.lock();
            let at = transfers.iter().position(|it| it.bytes == call.bytes && it.to == here);
            at.map(|at| transfers.swap_remove(at).account)
        };
        let user = account.and_then(|account| self.server.user(account));
        let user = user.filter(|user| user.id == call.id);
        Ok(self.log_in(&user.ok_or(refused("AUTH_BYTES_INVALID"))?))
    }
}
