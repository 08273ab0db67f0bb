import Links
import Platform
import Supervision

/// Who a service runs as.
struct Identity {
    /// What the child becomes; nil: it stays who supd is.
    var credentials: SpawnPlan.Credentials?
    /// The account of the manifest's `user`; nil without one.
    var account: Account?

    /// Looks up `user` and `group`, each a name or a number; a name that is a number is tried as a name first.
    init(user: String?, group: String?) throws(StartFailure) {
        guard user != nil || group != nil else { return }
        let ownUser = Accounts.ownUser
        let ownGroup = Accounts.ownGroup

        var groupID: UInt32?
        if let group {
            do {
                groupID = try Accounts.group(named: group) ?? Self.number(group)
            } catch {
                throw StartFailure(text: "cannot look up the group '\(group)': \(error.reason)")
            }
            if groupID == nil { throw StartFailure(text: "cannot run as group '\(group)': there is no such group") }
        }

        var userID = ownUser
        if let user {
            do {
                account = try Accounts.account(named: user)
                if account == nil, let number = Self.number(user) {
                    userID = number
                    account = try Accounts.account(of: number)
                } else if let account {
                    userID = account.user
                } else {
                    throw StartFailure(text: "cannot run as user '\(user)': there is no such user")
                }
            } catch let error as SystemError {
                throw StartFailure(text: "cannot look up the user '\(user)': \(error.reason)")
            } catch let error as StartFailure {
                throw error
            } catch {
                throw StartFailure(text: "cannot look up the user '\(user)'")
            }
            guard account != nil || groupID != nil else {
                throw StartFailure(
                    text: "cannot run as user \(userID): the user database does not know it, so its group is unknown; "
                        + "set 'group' as well")
            }
        }

        let primary = groupID ?? account?.group ?? ownGroup
        // Without privileges nothing may be switched, not even to what is already so.
        if ownUser != 0, userID == ownUser, primary == ownGroup { return }
        var supplementary: [UInt32] = [primary]
        if let account {
            do {
                supplementary = try Accounts.groups(ofUserNamed: account.name, primary: primary)
            } catch {
                throw StartFailure(text: "cannot look up the groups of user '\(account.name)': \(error.reason)")
            }
        }
        credentials = SpawnPlan.Credentials(user: userID, group: primary, supplementary: supplementary)
    }

    /// A decimal id; the highest one means "none" to the kernel.
    private static func number(_ text: String) -> UInt32? {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt32(text), number != .max else {
            return nil
        }
        return number
    }
}
