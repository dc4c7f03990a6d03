package vault

import _ "modernc.org/sqlite" // the ledger's database
