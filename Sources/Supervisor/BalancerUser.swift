import Links
import Platform

/// Who the roles without rights run as when supd is root.
enum BalancerUser {
    /// The installer's user, which nobody else shares.
    private static let name = "supd"
    /// Where systemd takes its own dynamic users from (systemd.exec(5)); the name `supd` does not exist everywhere.
    private static let unusedIDs: ClosedRange<UInt32> = 61_184...65_519

    /// The credentials; nil for who is not root, and so cannot change: stay who we are.
    static func credentials(for wanted: String?, log: DaemonLog) -> RoleCredentials? {
        guard Accounts.ownUser == 0 else { return nil }
        do throws(SystemError) {
            if let account = try Accounts.account(named: wanted ?? name), account.user != 0 {
                return RoleCredentials(user: account.user, group: account.group)
            }
            if let wanted { log.write(.warning, "there is no user \(wanted) for the balancer, or it is root's") }
            for id in unusedIDs.reversed() where try Accounts.account(of: id) == nil {
                return RoleCredentials(user: id, group: id)
            }
        } catch {
            log.write(.warning, "cannot look up a user for the balancer: \(error)")
        }
        return RoleCredentials(user: unusedIDs.upperBound, group: unusedIDs.upperBound)
    }

    /// For the web role: nobody else's id, so that neither of the two can send the other a signal. nil for who is not root.
    static func webCredentials(besides balancer: RoleCredentials?) -> RoleCredentials? {
        guard Accounts.ownUser == 0 else { return nil }
        let free = unusedIDs.reversed().first { id in
            id != balancer?.user && ((try? Accounts.account(of: id)) ?? nil) == nil
        }
        let id = free ?? unusedIDs.lowerBound
        return RoleCredentials(user: id, group: id)
    }
}
