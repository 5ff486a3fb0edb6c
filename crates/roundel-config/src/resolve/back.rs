//! TLS towards servers: files that are read with the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use roundel_proxy::Proto;
use roundel_tls::{Back, Demand};

use super::{Merge, known, told};
use crate::file::BackTable;
use crate::key::Maybe;
use crate::reader::Place;
use crate::value::Fault;

impl Merge<'_> {
    /// How servers are spoken to over TLS. Complains of files that are no good.
    pub(crate) fn back(&self, table: &mut Maybe<BackTable>, proto: Proto) -> Option<Arc<Back>> {
        let table = &mut table.as_mut()?.value;
        let files = [&mut table.ca_file, &mut table.certificate, &mut table.key];
        for at in files.into_iter().flatten() {
            at.value = self.relative(&at.value);
        }
        let demand = Demand {
            ca_file: told(&table.ca_file),
            server_name: told(&table.server_name),
            certificate: told(&table.certificate).zip(told(&table.key)),
            verify: known(&table.verify),
            alpn: proto.alpn(),
        };
        let refused = match Back::read(&demand) {
            Ok(back) => return Some(Arc::new(back)),
            Err(refused) => refused,
        };
        for one in refused {
            let files = [&table.ca_file, &table.certificate, &table.key];
            let of = |file: &&Maybe<PathBuf>| file.as_ref().is_some_and(|at| at.value == one.path);
            let place = files.into_iter().find(of).and_then(|file| file.as_ref());
            let place = place.map_or(Place::Default, |at| at.place.clone());
            let fault = Fault::new(one.to_string(), one.flaw.cure());
            self.reader.report_at(&place, fault);
        }
        None
    }
}
