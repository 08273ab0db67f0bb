import Glibc

/// Questions about this machine whose answer may be that it cannot be told: nil.
package enum HostQueries {
    /// Whether there is a user of this name.
    @Sendable package static func hasUser(_ name: String) -> Bool? {
        known { () throws(SystemError) in try Accounts.account(named: name) != nil }
    }

    /// Whether the user database knows this uid.
    @Sendable package static func hasUserID(_ id: UInt32) -> Bool? {
        known { () throws(SystemError) in try Accounts.account(of: id) != nil }
    }

    /// Whether there is a group of this name.
    @Sendable package static func hasGroup(_ name: String) -> Bool? {
        known { () throws(SystemError) in try Accounts.group(named: name) != nil }
    }

    /// What a path leads to; `.some(nil)`: to nothing.
    package static func status(_ path: String) -> Files.Status?? {
        do throws(SystemError) {
            return .some(try Files.status(path))
        } catch {
            return error.code == ENOENT || error.code == ENOTDIR ? .some(nil) : nil
        }
    }

    /// Whether an interface of this machine has an IPv4 or IPv6 address: whether a socket can be bound to it.
    @Sendable package static func hasAddress(_ text: String) -> Bool? {
        do throws(SystemError) {
            _ = try listen(on: text.contains(":") ? .ipv6(text, port: 0) : .ipv4(text, port: 0), backlog: 1)
            return true
        } catch {
            return error.code == EADDRNOTAVAIL ? false : nil
        }
    }

    private static func known(_ body: () throws(SystemError) -> Bool) -> Bool? { try? body() }
}
