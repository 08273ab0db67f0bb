// BalancerTests
