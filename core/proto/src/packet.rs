//! IPv6, UDP and ICMPv6 as far as a router needs them: parse, build, checksum.
