// Every text of the console, Chinese and English side by side. `[zh, en]`; `{name}` is filled in.
// The choice is remembered; without one the browser decides.

const TEXT = {
  'app.title': ['烽燧 · 城市感知', 'Watchfire · city sensing'],
  skip: ['跳到面板', 'Skip to panel'],
  'nav.label': ['页面', 'Pages'], 'nav.home': ['烽燧首页', 'Watchfire home'], 'nav.map': ['地图', 'Map'],
  'nav.alarms': ['告警', 'Alarms'], 'nav.gateways': ['网关', 'Gateways'], 'nav.sensors': ['传感器', 'Sensors'],
  'nav.quarantine': ['隔离区', 'Quarantine'], 'nav.settings': ['设置', 'Settings'],
  'lang.switch': ['EN', '中文'], 'lang.switchLabel': ['Switch to English', '切换到中文'],
  'theme.auto': ['主题：跟随系统', 'Theme: as the system'], 'theme.light': ['主题：浅色', 'Theme: light'], 'theme.dark': ['主题：深色', 'Theme: dark'],
  back: ['返回', 'Back'], loading: ['加载中…', 'Loading…'], more: ['加载更多', 'Load more'],
  refresh: ['刷新', 'Refresh'], all: ['全部', 'All'], none: ['无', 'none'], search: ['搜索', 'Search'],
  'error.load': ['加载失败：{detail}', 'Could not load: {detail}'], 'error.network': ['无法连接服务器', 'the server cannot be reached'],
  'error.timeout': ['服务器在 {n} 秒内没有应答', 'the server did not answer within {n} s'],
  'error.status': ['服务器应答 {status}', 'the server answered {status}'],

  'time.s': ['{n} 秒', '{n} s'], 'time.min': ['{n} 分钟', '{n} min'], 'time.h': ['{n} 小时', '{n} h'], 'time.d': ['{n} 天', '{n} d'],
  'time.ago': ['{span}前', '{span} ago'], 'time.now': ['刚刚', 'just now'], 'time.never': ['从未', 'never'],
  'window.1m': ['1 分钟', '1 min'], 'window.1h': ['1 小时', '1 h'], 'window.1d': ['1 天', '1 day'],

  'map.label': ['地图', 'Map'],
  'map.keys': ['感知地图。方向键平移，加减键缩放，F 适应数据，回车打开中心网格。', 'Sensing map. Arrow keys pan, plus and minus zoom, F fits the data, Enter opens the cell at the centre.'],
  'map.quantity': ['监测量', 'Quantity'], 'map.window': ['时间窗', 'Window'], 'map.stat': ['统计值', 'Statistic'],
  'map.in': ['放大', 'Zoom in'], 'map.out': ['缩小', 'Zoom out'], 'map.fit': ['适应数据', 'Fit to data'],
  'map.nothing': ['当前视野内没有该监测量的数据', 'No data of this quantity in view'],
  'map.noSensors': ['还没有传感器上报', 'No sensor has reported yet'],
  'map.truncated': ['网格过多，仅显示一部分，请放大', 'Too many cells, only some are shown: zoom in'],
  'map.cells': ['{n} 个网格 · 精度 {p}', '{n} cells · precision {p}'],
  'map.stale': ['数据陈旧', 'stale'], 'map.staleHint': ['斜线网格：最近的时间窗已过去 3 个以上', 'Hatched: the newest window is more than 3 windows old'],
  'map.alarmsHere': ['{n} 个告警', '{n} alarms'],
  'stat.mean': ['平均', 'Mean'], 'stat.min': ['最小', 'Min'], 'stat.max': ['最大', 'Max'], 'stat.p50': ['中位数', 'Median'],
  'stat.p95': ['P95', 'P95'], 'stat.count': ['读数', 'Readings'], 'stat.sensors': ['传感器', 'Sensors'], 'stat.first': ['最早值', 'First'], 'stat.last': ['最新值', 'Last'],

  'cell.title': ['网格 {cell}', 'Cell {cell}'], 'cell.window': ['时间窗', 'Window'], 'cell.sensors': ['网格内的传感器', 'Sensors in this cell'],
  'cell.none': ['这个网格目前没有该监测量的数据。空不等于零。', 'This cell has no data of this quantity. Empty is not zero.'],
  'cell.noSensors': ['没有找到该监测量的传感器', 'No sensor of this quantity found here'],
  'cell.partial': ['传感器太多，此列表可能不全', 'So many sensors that this list may be incomplete'],
  'cell.staleSince': ['陈旧：{age}没有新数据', 'Stale: nothing new for {age}'],

  'level.blue': ['蓝色', 'Blue'], 'level.yellow': ['黄色', 'Yellow'], 'level.orange': ['橙色', 'Orange'], 'level.red': ['红色', 'Red'],
  'alarms.title': ['告警', 'Alarms'], 'alarms.byLevel': ['各级告警数', 'Alarms by level'], 'alarms.active': ['未解除', 'Active'],
  'alarms.none': ['没有未解除的告警', 'No active alarms'], 'alarms.noneAll': ['还没有告警', 'No alarms yet'],
  'alarms.filter': ['筛选告警', 'Filter alarms'], 'alarms.search': ['规则、地点、网关…', 'Rule, place, gateway…'],
  'alarms.state.active': ['未解除', 'Active'], 'alarms.state.cleared': ['已解除', 'Cleared'], 'alarms.state.blind': ['失明', 'Blind'],
  'alarms.threshold': ['阈值 {value}', 'limit {value}'],
  'alarms.blindHint': ['传感器失效，无法判断', 'Sensor failed: cannot be judged'],
  'alarms.flood': ['告警泛滥：10 分钟内 {n} 条（目标不超过 10 条）', 'Alarm flood: {n} in 10 minutes (aim: at most 10)'],
  'alarms.count': ['{level}告警 {n} 条', '{n} {level} alarms'],
  'alarms.announce': ['新{level}告警：{what}，{where}', 'New {level} alarm: {what}, {where}'],
  'alarms.announceBlind': ['告警失明：{what}，{where}', 'Alarm gone blind: {what}, {where}'],
  'alarms.raised': ['发生 {when}', 'raised {when}'], 'alarms.cleared': ['解除 {when}', 'cleared {when}'],
  'alarms.stands': ['已 {span}', 'for {span}'],
  'alarms.announceAgain': ['{level}告警仍未解除：{what}，{where}', '{level} alarm goes on: {what}, {where}'],
  'alarms.again': ['重申 {when}', 'again {when}'], 'alarms.worst': ['最严重 {value}', 'worst {value}'],
  'alarms.rises': ['{what}快速上升', '{what} rising fast'], 'alarms.falls': ['{what}快速下降', '{what} falling fast'],
  'alarms.over': ['{span}内 {value}', '{value} in {span}'],
  'alarms.confirmed': ['多传感器确认：{rule}', 'Confirmed by several sensors: {rule}'],
  'alarms.agreeing': ['{n} 个一致（需 {needed}）', '{n} agree ({needed} needed)'],
  'alarms.inputs': ['判定依据', 'What decided'], 'alarms.speaks': ['报警', 'alarming'], 'alarms.silent': ['未报警', 'not alarming'],

  'gateways.title': ['网关', 'Gateways'], 'gateways.search': ['编号或区域…', 'Id or area…'], 'gateways.filter': ['按状态筛选', 'Filter by state'],
  'gateways.none': ['没有符合的网关', 'No gateway matches'], 'gateways.noneYet': ['还没有网关接入', 'No gateway has connected yet'],
  'gateways.state.live': ['在线', 'Live'], 'gateways.state.late': ['迟到', 'Late'], 'gateways.state.silent': ['失联', 'Silent'],
  'gateways.heard': ['最近收到', 'Last heard'], 'gateways.backlog': ['积压', 'Backlog'], 'gateways.lanes': ['通道', 'Lanes'],
  'gateways.sensors': ['传感器', 'Sensors'], 'gateways.area': ['区域', 'Area'], 'gateways.board': ['板卡', 'Board'],
  'gateways.version': ['版本', 'Version'], 'gateways.clock': ['时钟', 'Clock'], 'gateways.place': ['位置', 'Place'],
  'gateways.store': ['存储', 'Store'], 'gateways.highWater': ['已收到', 'Received up to'], 'gateways.missing': ['在途', 'Missing'], 'gateways.lost': ['丢失', 'Lost'],
  'gateways.losses': ['无法送达的数据', 'Lost for good'], 'gateways.lossesNone': ['没有丢失', 'Nothing was lost'],
  'gateways.reason': ['原因', 'Reason'], 'gateways.sequences': ['序号', 'Sequences'], 'gateways.lostCount': ['条数', 'Count'],
  'loss.quota': ['缓存已满', 'Buffer was full'], 'loss.thinned': ['为节省空间而抽稀', 'Thinned to save space'],
  'loss.corrupt': ['存储损坏', 'Stored value was damaged'], 'loss.refused': ['被拒收', 'Refused by ingest'],
  'gateways.health': ['自检', 'Health'], 'gateways.unknown': ['没有这个网关：{id}', 'There is no gateway {id}'],
  'gateways.noBacklog': ['无积压', 'no backlog'], 'gateways.sensorCount': ['{n} 个传感器', '{n} sensors'],
  'gateways.partial': ['仅加载前 {n} 个网关', 'Only the first {n} gateways are loaded'],
  'lane.alarm': ['告警', 'Alarms'], 'lane.seal': ['印章', 'Seals'], 'lane.reading': ['读数', 'Readings'], 'lane.frame': ['图像', 'Frames'], 'lane.health': ['自检', 'Health'],
  'lane.state.complete': ['完整', 'Complete'], 'lane.state.arriving': ['补传中 {n}', 'Arriving {n}'], 'lane.state.lost': ['丢失 {n}', 'Lost {n}'],
  'clock.unset': ['未校时', 'Not set'], 'clock.held_over': ['保持（未确认）', 'Held over'], 'clock.synchronised': ['已同步', 'Synchronised'],

  'sensors.title': ['传感器', 'Sensors'], 'sensors.search': ['编号、名称、监测量…', 'Id, label, quantity…'],
  'sensors.none': ['没有符合的传感器', 'No sensor matches'], 'sensors.unknown': ['没有这个传感器：{id}', 'There is no sensor {id}'],
  'sensors.partial': ['已加载 {n} 个；输入网关编号可找到更多', '{n} loaded; type a gateway id to find more'],
  'sensors.anyQuantity': ['全部监测量', 'All quantities'],
  'sensor.never': ['还没有读数', 'No reading yet'], 'sensor.range': ['量程', 'Range'],
  'sensor.quantity': ['监测量', 'Quantity'], 'sensor.gateway': ['网关', 'Gateway'], 'sensor.chip': ['器件', 'Chip'], 'sensor.cell': ['网格', 'Cell'],
  'sensor.alarms': ['相关告警', 'Its alarms'], 'sensor.facts': ['详情', 'Details'],
  'quality.good': ['正常', 'Good'], 'quality.suspect': ['可疑', 'Suspect'], 'quality.out_of_range': ['超量程', 'Out of range'], 'quality.fault': ['故障', 'Fault'],
  'chart.span': ['时间跨度', 'Time span'], 'chart.10m': ['10 分钟', '10 min'], 'chart.1h': ['1 小时', '1 h'], 'chart.24h': ['24 小时', '24 h'],
  'chart.label': ['{name} 曲线，{span}。左右方向键移动十字线。', 'Chart of {name}, {span}. Left and right keys move the crosshair.'],
  'chart.empty': ['这段时间没有读数', 'No readings in this time'],
  'chart.partial': ['较早的读数未全部加载，自 {when} 起', 'Earlier readings are not all loaded; complete since {when}'],
  'chart.sampled': ['读数过多：较早部分为抽样显示', 'Many readings: the earlier part is shown as a sample'],
  'chart.limit': ['阈值', 'limit'],

  'quarantine.hint': ['未能接收的消息不会丢弃：保留原文和原因，修复后可重放。', 'Messages that could not be taken are kept with their reason, and can be replayed once the cause is fixed.'],
  'quarantine.none': ['隔离区为空', 'The quarantine is empty'],
  'quarantine.state': ['状态', 'State'], 'quarantine.bytes': ['{n} 字节', '{n} B'],
  'quarantine.replay': ['重放', 'Replay'], 'quarantine.replaying': ['重放中…', 'Replaying…'], 'quarantine.replayed': ['已重放：{source}', 'Replayed: {source}'],
  'quarantine.again': ['再次被拒：{source}', 'Refused again: {source}'], 'quarantine.failed': ['重放失败：{detail}', 'Replay failed: {detail}'],
  'quarantine.state.held': ['待处理', 'Held'], 'quarantine.state.replayed': ['已重放', 'Replayed'], 'quarantine.state.refused_again': ['再次被拒', 'Refused again'],

  'status.label': ['运行状态', 'Status'], 'status.rate': ['读数/秒', 'readings/s'], 'status.received': ['收到', 'received'], 'status.accepted': ['接收', 'accepted'],
  'status.duplicate': ['重复', 'duplicate'], 'status.quarantined': ['隔离', 'quarantined'], 'status.lost': ['丢失', 'lost'], 'status.late': ['迟到', 'late'],
  'status.sensors': ['传感器', 'sensors'], 'status.gateways': ['网关', 'gateways'],
  'status.live': ['实时', 'Live'], 'status.connecting': ['连接中', 'Connecting'], 'status.broken': ['中断', 'Broken'],
  'status.hint.received': ['启动以来收到的读数', 'Readings received since start'], 'status.hint.accepted': ['已持久保存并计入', 'Stored durably and counted once'],
  'status.hint.duplicate': ['重复送达，已去除', 'Delivered again and dropped'], 'status.hint.quarantined': ['无法接收，已隔离', 'Could not be taken; kept in quarantine'],
  'status.hint.lost': ['网关说明无法再送达的', 'Declared lost by gateways'], 'status.hint.late': ['所属时间窗结束 2 分钟后才到', 'Arrived over 2 minutes after their minute ended'],
  'banner.stream': ['实时连接中断：自 {when}（{span}）起画面不再更新，正在自动重连…', 'Live feed broken since {when} ({span}): this picture is not being updated. Reconnecting…'],
  'banner.old': ['没有新数据：最新一次来自 {when}（{span}前）', 'No new data: the newest is from {when} ({span} ago)'],
  'banner.snapshot': ['数据加载失败，正在重试：{detail}', 'Loading failed, trying again: {detail}'],

  'settings.title': ['设置', 'Settings'], 'settings.tiles': ['底图瓦片地址', 'Base map tile URL'],
  'settings.tilesHint': ['留空则不使用底图，完全离线。用 {z} {x} {y} 作占位，例如 https://tiles.example.org/{z}/{x}/{y}.png', 'Empty: no base map, fully offline. Use {z} {x} {y}, for example https://tiles.example.org/{z}/{x}/{y}.png'],
  'settings.attribution': ['底图署名', 'Base map attribution'], 'settings.datum': ['底图坐标系', 'Base map datum'],
  'settings.datumHint': ['国内街道地图多为 GCJ-02；选错会偏 300–700 米', 'Chinese street maps are mostly GCJ-02; the wrong choice is off by 300–700 m'],
  'settings.save': ['保存', 'Save'], 'settings.saved': ['已保存', 'Saved'], 'settings.keys': ['快捷键', 'Keyboard'], 'settings.language': ['语言', 'Language'], 'settings.theme': ['主题', 'Theme'],
  'settings.theme.auto': ['跟随系统', 'System'], 'settings.theme.light': ['浅色', 'Light'], 'settings.theme.dark': ['深色', 'Dark'],
  'settings.clock': ['本机时钟与服务器相差', 'This machine’s clock differs from the server’s by'],
  'keys.pages': ['切换页面', 'Switch pages'], 'keys.search': ['搜索', 'Search'], 'keys.fit': ['地图适应数据', 'Fit the map to the data'], 'keys.back': ['返回', 'Back'],
  'keys.pan': ['平移地图 / 移动十字线', 'Pan the map, move the crosshair'], 'keys.zoom': ['缩放地图', 'Zoom the map'], 'keys.list': ['在列表中移动', 'Move in a list'],
};

const KEY = 'watchfire.lang';
let current = choose();

function choose() {
  const saved = read(KEY);
  if (saved === 'zh' || saved === 'en') return saved;
  return (navigator.languages ?? [navigator.language]).some((l) => /^zh\b/i.test(l ?? '')) ? 'zh' : 'en';
}

function read(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

/** The language in use: `zh` or `en`. */
export const lang = () => current;

/** Changes the language and remembers it. Callers redraw. */
export function setLang(next) {
  current = next === 'zh' ? 'zh' : 'en';
  try { localStorage.setItem(KEY, current); } catch { /* private mode: it holds for this visit */ }
  document.documentElement.lang = current === 'zh' ? 'zh-CN' : 'en';
}

/** Adds the texts of a part of the console that has its own. */
export const addTexts = (more) => Object.assign(TEXT, more);

/** A text by key, with `{name}` filled in from `params`. An unknown key shows itself, so that tests see it. */
export function t(key, params) {
  const pair = TEXT[key];
  if (!pair) return `⟦${key}⟧`;
  const text = pair[current === 'zh' ? 0 : 1];
  return params ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole)) : text;
}

/** The text for a word of the API (`gateways.state.` + `live`); a word this console does not know is shown as it came. */
export const word = (prefix, value, params) => (TEXT[prefix + value] ? t(prefix + value, params) : String(value ?? '—'));

/** A quantity's or a problem's own name in the language in use. */
export const named = (thing) => (current === 'zh' ? thing?.zh ?? thing?.en : thing?.en ?? thing?.zh) ?? thing?.name ?? '';

/** Fills `data-t` (text) and `data-t-label` (aria-label and tooltip) of the static page. */
export function translate(root) {
  for (const node of root.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll('[data-t-label]')) {
    node.setAttribute('aria-label', t(node.dataset.tLabel));
    if (node.matches('a,button')) node.title = t(node.dataset.tLabel);
  }
}
