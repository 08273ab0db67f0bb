// SupctlTests
