// LogsTests
