import Links
import Testing

@testable import Keeper

enum KeeperCoreTests {
    static let stoppingCrashes = KeeperCore.stoppingCrashes
}
