// Alarm levels from mild to grave, as Chinese emergency practice colours them (蓝 黄 橙 红).

export const LEVELS = ['blue', 'yellow', 'orange', 'red'];
