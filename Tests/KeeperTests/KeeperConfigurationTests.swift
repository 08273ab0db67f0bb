import Testing

@testable import Keeper

@Suite("The keeper's configuration") struct KeeperConfigurationTests {
    @Test("keeps for itself what systemd meant for one process")
    func environment() {
        let configuration = KeeperConfiguration(
            supervisorArguments: [], balancerArguments: [],
            environment: [
                "PATH": "/bin", "NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42",
                "LISTEN_PID": "42", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "JOURNAL_STREAM": "8:1",
                "DB_PASSWORD": "secret",
            ], scope: "s", processID: 42)
        #expect(configuration.environment == ["DB_PASSWORD=secret", "JOURNAL_STREAM=8:1", "PATH=/bin"])
        #expect(configuration.balancerEnvironment == ["JOURNAL_STREAM=8:1", "PATH=/bin"])
        #expect(configuration.notifySocket == "/run/n")
        #expect(configuration.watchdog == 30_000_000_000)
    }

    @Test(
        "takes no watchdog that is meant for somebody else, or makes no sense",
        arguments: [
            ["WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"], ["WATCHDOG_USEC": "0"], ["WATCHDOG_USEC": "x"], [:],
        ])
    func watchdog(environment: [String: String]) {
        let configuration = KeeperConfiguration(
            supervisorArguments: [], balancerArguments: [], environment: environment, scope: "s", processID: 42)
        #expect(configuration.watchdog == nil)
    }
}
