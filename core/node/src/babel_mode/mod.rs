//! Babel on the interfaces of the operating system (`osier babel`).
