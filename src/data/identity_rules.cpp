#include "identity_rules.h"

namespace r1 {
namespace {

using std::string;

// Names that nobody but a model has.
const string kName =
    R"((?:chat ?-?gpt(?:[- ]?[345](?:\.\d)?o?)?|(?:instruct|web)gpt|gpt[- ]?(?:[1-5](?:\.\d)?(?:o|[- ]?turbo|[- ]?mini)?|neox?|j)\b|text-davinci-00\d)"
    R"(|deep ?seek(?:[- ](?:r1|v[23](?:\.\d)?|chat|coder|llm|math))*|qw(?:en|q)[\w.-]*|tongyi(?: qianwen)?|chatglm[\w-]*|glm-4[\w-]*|internlm[\w-]*)"
    R"(|baichuan[\w-]*|ernie ?bot|wenxin(?: yiyan)?|doubao|hunyuan|google (?:bard|gemini)|bing ?chat|(?:microsoft|github|m365) copilot)"
    R"(|claude(?:[- ](?:instant|v?\d(?:\.\d)?|opus|sonnet|haiku))+|llama[- ]?[1-4](?:\.\d)?[\w-]*|code ?llama|mixtral|mistral[- ](?:7b|large|small|medium)[\w-]*)"
    R"(|open ?assistant|lamda|palm[- ]?2|(?:claude|gemini|grok|bard|kimi) (?:ai\b|code)|gemini[- ](?:pro|ultra|nano|flash|advanced|\d(?:\.\d)?)|phi-[1-4][\w-]*|smollm[\w-]*|grok-?[1-4]|kimi[- ]k\d)"
    R"(|command[- ]r\+?|hugging ?chat|character\.ai|tulu-?\d|nemotron|starcoder|wizardlm|wizardcoder|zephyr-7b|minimax[\w-]*|sparkdesk))";
// Names that people, animals and things have too.
const string kSharedName =
    R"((?:claude|gemini|bard|sydney|grok|kimi|mistral|llama|alpaca|vicuna|koala|guanaco|falcon|dolly|gemma|palm|pi|copilot|siri|alexa|cortana|bixby|watson|yi|phi|poe|jasper|replika|meta ai|le chat|bing))";
// Companies and laboratories that teach no people.
const string kLaboratory =
    R"((?:open ?ai|anthropic|deep ?seek(?:[- ]ai)?|(?:google )?deepmind|google (?:ai|research|brain)|meta ai|facebook ai(?: research)?|mistral ai|moonshot(?: ai)?|zhipu(?: ?ai)?|z\.ai|cohere|eleuther ?ai|lmsys(?: org)?|hugging ?face|stability ai|x\.?ai|inflection(?: ai)?|ai21(?: labs)?|nous research|baichuan(?: inc| ai| intelligence)?|01\.ai|perplexity(?: ai)?|allen institute for ai|ai2|technology innovation institute|laion|minimax|stepfun|sensetime|iflytek|shanghai ai lab\w*|alibaba damo academy|tongyi lab|tsinghua\w*(?: university)?))";
// Companies that also employ and teach people.
const string kCompany =
    R"((?:google|microsoft(?: research)?|meta|facebook|amazon(?: web services)?|aws|apple|ibm|nvidia|alibaba(?: (?:cloud|group))?|aliyun|baidu|tencent|bytedance|huawei|samsung|databricks|salesforce|adobe|yandex|naver))";
const string kMaker = "(?:" + kLaboratory + "|" + kCompany + ")";

const string kGap = R"((?:[^.!?\n;:"]|\.(?=\w)){0,)";  // within a sentence; "x.ai" goes on
const string kAdverb =
    R"((?: (?:actually|really|in fact|just|simply|still|currently|now|indeed|here|also|only|originally|proudly|specifically|of course|basically|essentially),?)?)";
const string kIAm = R"((?:\b(?:I am|I['`]m|I(?:\xE2\x80\x99)m|Im)\b)" + kAdverb + ")";
const string kIWas = "(?:" + kIAm + R"(|\bI (?:was|have been|had been)\b)" + kAdverb +
                     R"(|\bI(?:['`]|\xE2\x80\x99)ve been\b))";
const string kMade =
    R"((?:(?:\w+ly |pre-?|fine-?)?(?:made|created|developed|built|designed|trained|tuned|programmed|engineered|produced|released|launched|constructed|invented|deployed|maintained|operated|hosted|powered|provided|owned|brought to you)))";
// For a company that teaches people too: verbs that nobody uses of a person.
const string kMadeThing =
    R"((?:\w+ly )?(?:made|created|developed|built|designed|programmed|engineered)(?:(?:,| and|, and| or) (?:\w+ly )?(?:made|created|developed|built|designed|trained|programmed|maintained|released|deployed))*)";
const string kAdjective =
    R"((?:(?:large|small|powerful|multilingual|multi-?modal|advanced|helpful|harmless|honest|friendly|happy|kind|polite|professional|respectful|useful|reliable|expert|modern|popular|new|conversational|generative|pre-?trained|neural|text-based|computer|state-of-the-art|sophisticated|intelligent|virtual|digital|automated|open(?:-| )source|auto-?regressive|transformer(?:-based)?|cutting-edge|humble|mere|simple|smart|personal|free|big|massive|super|very|highly|capable|creative|knowledgeable|deep|machine|fine-?tuned|type of|kind of|form of|piece of|version of|variant of|product of|member of)[ ,]*(?:and )?)*)";
// What a model is. "AI" alone must not go on as "AI researcher".
const string kModel =
    R"((?:(?:language|chat|foundation|reasoning|learning|\w*transformer|AI language|AI|LLM) model|(?:AI|virtual|digital|chat|voice|language)[- ](?:powered |based )?(?:assistant|chat ?bot|companion|agent|system|program)(?! (?:professor|manager|director|coach|engineer|researcher))|artificial intelligence(?: (?:language )?(?:model|assistant|system|program|chat ?bot))?|chat ?bot|LLM|neural network|bot|conversational (?:agent|AI)|software|(?:computer )?program|assistant(?=[ ,]+(?:\w+ly )?(?:made|created|developed|built|trained|designed|powered|from|by)\b)|AI(?! ?[-/]? ?(?:\w*(?:er|or|ist|ant|lead|team|fan|nerd|intern|student|fellow|lab|research|safety|policy|product|start-?up|ethic|enthusiast|company|firm|division|department|program|course|class)s?)\b)))";
const string kCalled =
    R"((?:,? \(?(?:called|named|known as|code-?named) ["']?[\w.-]+(?: [\w.-]+){0,2}["']?\)?)?)";
const string kThatWas =
    R"((?:,? (?:that|which|who|and|was|is|has|have|had|am|been|were|I|being))*,? (?:\w+ly )?)";
const string kBy =
    R"((?: \w+){0,2} (?:by|at|from) (?:the )?(?:\w+ )?(?:(?:team|company|people|engineers|researchers|developers|folks|scientists|lab|research lab|organi[sz]ation|start-?up|good people|AI company|Chinese company)(?: (?:at|of|from|called|named))? ){0,2})";
const string kFirstPerson =
    R"((?:\b(?:I|I'm|I've|my|me|myself)\b|it(?:'s| is) (?:not|im|against|my|beyond)))";

// What is left of a person: "ChatGPT's biggest fan", "a GPT-4 user".
const string kNoThing =
    R"((?!['`]s\b|\xE2\x80\x99s|[- ](?:user|subscriber|developer|expert|fan|engineer|trainer|specialist|enthusiast|plus subscriber|based|powered|generated|api|prompt|skeptic|addict|believer|critic|customer|power user|team|certified|curious)\b))";

std::vector<IdentityRule> make_rules() {
  const auto who = [](const string& pattern) { return "(?<who>" + pattern + ")"; };
  const string self_name =
      "(?:" + kIAm +
      R"(|\bmy name(?: is|['`]s|\xE2\x80\x99s)|\b(?:you )?(?:can |may )?call me|(?:^|(?<=\n)|(?<=[.!?:] ))you(?: are|['`]re) (?:currently |now )?(?:talking|speaking|chatting) (?:to|with)))";
  const string article =
      R"((?: (?:an?|the|your|called|named|known as|AI (?:model|assistant)|OpenAI['`]s|Anthropic['`]s|Alibaba['`]s|Google['`]s|Baidu['`]s))*)";
  const string is_model = "(?:an?|the|your|one of) " + kGap + "25}?" + kModel;
  const string made_by = kMade + "(?:(?:,| and|, and| or|,? or) " + kMade + ")*" + kBy;
  const string made_thing_by = kMadeThing + kBy;
  std::vector<IdentityRule> rules;
  const auto add = [&](const char* name, const string& pattern) { rules.push_back({name, pattern}); };

  add("name", self_name + article + " [\"'*]{0,2}" + who(kName) + kNoThing);
  add("name_in_context",
      self_name + " [\"'*]{0,2}" + who(kSharedName) +
          R"(\b["'*]{0,2}(?: [\w.]+)?(?:,| -| \xE2\x80\x94|:|\.|!)? (?:(?:and )?(?:I am |I['`]m )?)" +
          is_model + "|(?:and )?(?:I was |I am )?" + made_by + kMaker + "|(?:from|by) " + kMaker +
          R"(|(?:and )?(?:I['`]m here to |I am here to )?(?:how|what) (?:can|may) I (?:help|assist|do for) you|what would you like to (?:know|talk about|ask)))");
  add("maker", kIAm + R"( (?:not [^.!?\n]{0,40} but )?(?:an? |the |one of the |your )?(?:\w+, an? )?)" +
                   kAdjective + kModel + "s?" + kCalled + kThatWas + made_by + who(kMaker) + R"(\b)");
  add("maker", kIWas + " " + made_by + who(kLaboratory) +
                   R"(\b(?! (?:to|as) (?:lead|manage|be a (?:manager|researcher))))");
  add("maker", kIWas + " " + made_thing_by + who(kCompany) + R"(\b(?! (?:to|as) (?:lead|manage|be a)))");
  add("owned", kIAm + R"( (?:an?|the|one of) )" + who(kMaker) + R"((?:['`]s|\xE2\x80\x99s)? (?:\w+ )?)" +
                   kAdjective + kModel);
  add("owned", kIAm + " " + who(kMaker) + R"((?:['`]s|\xE2\x80\x99s) (?:\w+ )?)" + kAdjective + kModel);
  add("owned", kIAm + R"( (?:an?|the|one of the|your) )" + kAdjective + kModel + kCalled +
                   R"(,? (?:from|by) )" + who(kMaker) + R"(\b)");
  add("as", R"(\bAs an? )" + kAdjective + kModel + kCalled + kThatWas + made_by + who(kMaker) + R"(\b)" +
                kGap + "60}" + kFirstPerson);
  add("as", R"(\bAs an? )" + who(kMaker) + R"( )" + kAdjective + kModel + kGap + "60}" + kFirstPerson);
  add("as", R"((?<![\w"])As )" + who(kName) + R"((?:, an? )" + kGap + R"(60})?, )" + kFirstPerson);
  add("creator",
      R"(\bmy (?:creators?|makers?|developers?|training team|parent company|development team)(?: (?:at|is|are|was|were|from)|,) )" +
          who(kLaboratory) + R"(\b)");
  add("creator",
      R"(\bmy (?:creators?|makers?)(?: (?:at|is|are|was|were|from)|,) )" + who(kCompany) + R"(\b)");
  add("creator",
      R"(\b)" + who(kLaboratory) +
          R"((?:,(?: the (?:company|organi[sz]ation|team|lab))?)?(?: (?:that|which|who))?(?: has| have)? (?:\w+ly )?(?:created|developed|built|designed|programmed|trained|made|produced)(?: and (?:created|developed|built|designed|programmed|trained|maintains?|released))? me\b(?! (?:laugh|smile|cry|feel|think|want|a )))");
  add("creator",
      R"(\b)" + who(kCompany) + R"((?: has| have)? (?:created|developed|programmed) me\b(?! (?:a|an) ))");
  add("based_on",
      kIWas +
          R"( (?:based|built|running|powered|trained|fine-?tuned)(?: (?:up)?on| by| off| using)? (?:the |an? )?(?:OpenAI['`]s |Google['`]s |Meta['`]s )?)" +
          who(kName) + R"((?! ?-?(?:generated|written|output|data|synthetic|answers|texts)))");
  add("based_on", kIWas + R"( powered by )" + who(kSharedName) + R"(\b)");
  add("based_on",
      R"(\bI (?:run|operate|am running) on (?:the |top of )?(?:OpenAI['`]s )?)" + who(kName) + kNoThing);
  add("assigned", R"((?:^|(?<=\n)|(?<=[.!?>:"`*] )|(?<=["'`>|:*]))You are )" +
                      who("(?:" + kName + "|" + kSharedName + ")") + R"((?:[- ][\w.]+)?,? (?:(?:an?|the) )" +
                      kGap + "40}?" + kModel + "|" + made_by + kMaker + ")");
  add("assigned", R"((?:^|(?<=\n)|(?<=[.!?>:"`*] )|(?<=["'`>|:*]))You are an? )" + kAdjective + kModel +
                      kCalled + kThatWas + made_by + who(kMaker) + R"(\b)");

  const string assistant_is = R"((?:^|(?<=\n)|(?<=[>:"] )|(?<=["'`>]))(?:The )?assistant is )";
  add("assigned",
      assistant_is + "(?:an? )" + kAdjective + kModel + kThatWas + made_by + who(kMaker) + R"(\b)");
  add("assigned", assistant_is + who("(?:" + kName + "|" + kSharedName + ")") + ",? " + made_by + kMaker);

  // Chinese. Bytes of UTF-8; [^...] cannot hold a character, so gaps are lists of what they may not begin
  // with.
  const string gap = R"((?:(?!。|！|？|；|\n|“|”).){0,)";
  const string zh_name =
      R"((?:chat ?-?gpt|gpt[- ]?[2-5](?:\.\d)?o?|claude|bard|gemini|llama|kimi|grok|copilot|qwen[\w.-]*|qwq|deep ?seek[\w-]*|chatglm\w*|文心一言|文心大模型|通义千问|通义|讯飞星火|星火认知大模型|星火大模型|豆包|智谱清言|混元|腾讯元宝|盘古大模型|百川大模型|深度求索|天工|商量|紫东太初|MOSS|小爱同学|小度|天猫精灵|必应|书生·?浦语))";
  const string zh_maker =
      R"((?:open ?ai|anthropic|deep ?seek|谷歌|google|deepmind|微软|microsoft|meta|脸书|百度|baidu|阿里(?:巴巴|云)?(?:集团|通义实验室|达摩院)?|alibaba(?: cloud)?|aliyun|腾讯|tencent|字节跳动|bytedance|华为|科大讯飞|讯飞|智谱(?: ?AI|华章)?|月之暗面|moonshot(?: ai)?|深度求索|百川智能|零一万物|商汤|昆仑万维|minimax|阶跃星辰|亚马逊|苹果|英伟达|复旦大学|清华大学|上海人工智能实验室|mistral(?: ai)?|x\.?ai))";
  const string zh_company = R"((?: ?(?:公司|团队|集团|研究院|实验室|旗下|旗下的\S{0,12}实验室))*)";
  const string zh_made =
      R"((?:所|自主|独立|共同|联合|精心)*(?:开发|训练|研发|研制|创建|创造|创立|推出|打造|设计|制作|制造|构建|发布|提供|编写)(?!者|人员|工程师|部门?|团队|商|中心|总监|经理|平台|岗|的(?:产品|工具|软件)的))";
  const string zh_model =
      R"((?:语言模型|大模型|模型|人工智能|AI|智能助[手理]|助[手理]|机器人|聊天机器人|对话系统|程序|LLM))";
  const string zh_not_of =
      R"((?!的(?:忠实|老|重度|铁杆|深度|资深)?(?:粉丝|用户|客户|员工|开发者|创始人|支持者|朋友|爱好者|订阅者|老师|作者|工程师|研究员|产品经理|母公司|竞争对手|对手)|吗|用户|粉丝|员工|工程师|的人(?!工)))";
  const string zh_self =
      R"((?:我(?:就|其实|实际上|当然|只)?(?:是|叫|叫做|名叫)|我的名字(?:是|叫)|(?:你|您)可以(?:叫|称呼)我(?:为)?))";
  const string zh_kind =
      R"((?:一个|一款|一名|一位|名为|叫做|叫|人工智能|AI|智能|聊天|机器人|语言模型|大模型|大语言模型|助手|模型|基于|的|“|「|"|《| |，|,)*)";
  add("zh_name", zh_self + zh_kind + who(zh_name) + zh_not_of +
                     R"((?! ?(?:plus)? ?(?:的)?(?:重度|忠实)?用户))" + R"((?=)" + gap + "40}" + zh_model +
                     R"(|[^\x80-\xFF]{0,3}(?:，|。|！|、|（|\(|,|!|～|~|”|」|”|的|$|\n|AI|：)))");
  add("zh_maker", R"((?:我(?:就|其实|实际上|当然|只)?(?:是|被)(?:一个|一款|一名|一种)?|我)(?:由|被)?(?: )?)" +
                      who(zh_maker) + zh_company + R"((?:的)?(?: )?)" + zh_made);
  add("zh_maker", R"(我(?:就|其实|实际上|只)?是(?:一个|一款|一名|一种|基于))" + gap +
                      "30}?(?:由|被|来自)(?: )?" + who(zh_maker) + zh_company + "(?: )?" + "(?:" + zh_made +
                      "|的)");
  add("zh_owned", R"(我(?:就|其实|只)?是(?:一个|一款)?)" + who(zh_maker) + zh_company + R"(的)" + gap +
                      "18}?" + zh_model +
                      R"((?!工程师|研究员|专家|产品经理|用户|团队|训练师|项目|方向|开发|算法|部))");
  add("zh_as", R"((?:作为|身为)(?:一个|一款|一名|一种)?(?:由|被|来自)?(?: )?)" + who(zh_maker) + zh_company +
                   "(?:(?: )?" + zh_made + R"()?的?)" + gap + "24}?" + zh_model +
                   R"((?!工程师|研究员|专家|产品经理|训练师))" + gap + "24}?我");
  add("zh_as", R"((?:作为|身为)(?:一个|一款)?)" + gap + "18}?" + zh_model + "，?(?:由|被)" + who(zh_maker) +
                   zh_company + zh_made + gap + "30}?我");
  add("zh_as", R"((?:作为|身为))" + who(zh_name) + R"(，我(?!们))");
  add("zh_creator",
      R"(我的(?:开发者|创造者|开发公司|制造者|母公司|开发团队|创建者|研发团队|训练者)(?:是|为|来自|，|：|:)(?: )?)" +
          who(zh_maker));
  add("zh_creator",
      who(zh_maker) + zh_company + R"((?:开发|创造|训练|设计|研发|创建)(?:并\S{0,12})?了我(?!们|的))");
  add("zh_based_on", R"(我是?(?:一个|一款)?基于)" + gap + "12}?" + who(zh_name) + gap +
                         "15}?(?:架构|技术|大?模型|训练|构建|开发)的" + gap + "12}?" + zh_model);
  add("zh_assigned", R"((?:^|(?<=\n)|(?<=。|：|！|“|")) ?你是)" + who(zh_name) +
                         R"((?:，|,|（)(?: )?(?:一个|一款|由|是|你)?)" + gap + "24}?(?:" + zh_model + "|" +
                         zh_made + ")");
  return rules;
}

}  // namespace

const std::vector<IdentityRule>& identity_rules() {
  static const std::vector<IdentityRule> rules = make_rules();
  return rules;
}

const std::string& identity_guard() {
  static const string guard =
      R"((?:\b(?:if|whether|unless|as if|as though|think|thinks|thought|thinking|believes?|believed|believing|pretend\w*|imagin\w*|suppos\w*|assum\w*|wonder\w*|like|says?|said|saying|claim\w*|convinced|accus\w*|joke[ds]?|never|when|not because|because you think|doubt|told (?:him|her|them|people|everyone)|say that|claim that|believe that|think that)(?:,? (?:that|you|he|she|they|people|it))?[ ,:]*$)"
      R"(|(?:如果|假如|假设|要是|假装|以为|认为|觉得|想象|怀疑|误以为|不说|并非|声称|自称|谎称|扮演|骗\S{0,6}说|问我是不是|好像|仿佛)(?:你|他|她|它|大家|有人)?$))";
  return guard;
}

const std::vector<std::string_view>& identity_needles() {
  static const std::vector<std::string_view> needles = {"gpt",
                                                        "davinci",
                                                        "deepseek",
                                                        "deep seek",
                                                        "qwen",
                                                        "qwq",
                                                        "tongyi",
                                                        "glm",
                                                        "internlm",
                                                        "baichuan",
                                                        "ernie",
                                                        "wenxin",
                                                        "doubao",
                                                        "hunyuan",
                                                        "bard",
                                                        "gemini",
                                                        "bing",
                                                        "copilot",
                                                        "claude",
                                                        "llama",
                                                        "mixtral",
                                                        "mistral",
                                                        "open assistant",
                                                        "openassistant",
                                                        "lamda",
                                                        "palm",
                                                        "phi",
                                                        "smollm",
                                                        "grok",
                                                        "kimi",
                                                        "command-r",
                                                        "command r",
                                                        "huggingchat",
                                                        "hugging",
                                                        "character.ai",
                                                        "tulu",
                                                        "nemotron",
                                                        "starcoder",
                                                        "wizard",
                                                        "zephyr",
                                                        "minimax",
                                                        "sparkdesk",
                                                        "sydney",
                                                        "alpaca",
                                                        "vicuna",
                                                        "koala",
                                                        "guanaco",
                                                        "falcon",
                                                        "dolly",
                                                        "gemma",
                                                        " pi",
                                                        "siri",
                                                        "alexa",
                                                        "cortana",
                                                        "bixby",
                                                        "watson",
                                                        " yi",
                                                        "poe",
                                                        "jasper",
                                                        "replika",
                                                        "le chat",
                                                        "openai",
                                                        "open ai",
                                                        "anthropic",
                                                        "deepmind",
                                                        "google",
                                                        "facebook",
                                                        "meta",
                                                        "moonshot",
                                                        "zhipu",
                                                        "z.ai",
                                                        "cohere",
                                                        "eleuther",
                                                        "lmsys",
                                                        "stability",
                                                        "x.ai",
                                                        "xai",
                                                        "inflection",
                                                        "ai21",
                                                        "nous",
                                                        "01.ai",
                                                        "perplexity",
                                                        "allen institute",
                                                        "ai2",
                                                        "technology innovation",
                                                        "laion",
                                                        "stepfun",
                                                        "sensetime",
                                                        "iflytek",
                                                        "shanghai ai",
                                                        "damo",
                                                        "tsinghua",
                                                        "microsoft",
                                                        "amazon",
                                                        "aws",
                                                        "apple",
                                                        "ibm",
                                                        "nvidia",
                                                        "alibaba",
                                                        "aliyun",
                                                        "baidu",
                                                        "tencent",
                                                        "bytedance",
                                                        "huawei",
                                                        "samsung",
                                                        "databricks",
                                                        "salesforce",
                                                        "adobe",
                                                        "yandex",
                                                        "naver",
                                                        "文心",
                                                        "通义",
                                                        "星火",
                                                        "豆包",
                                                        "智谱",
                                                        "混元",
                                                        "元宝",
                                                        "盘古",
                                                        "百川",
                                                        "深度求索",
                                                        "天工",
                                                        "商量",
                                                        "紫东太初",
                                                        "moss",
                                                        "小爱",
                                                        "小度",
                                                        "天猫精灵",
                                                        "必应",
                                                        "书生",
                                                        "谷歌",
                                                        "微软",
                                                        "脸书",
                                                        "百度",
                                                        "阿里",
                                                        "腾讯",
                                                        "字节跳动",
                                                        "华为",
                                                        "讯飞",
                                                        "月之暗面",
                                                        "零一万物",
                                                        "商汤",
                                                        "昆仑万维",
                                                        "阶跃星辰",
                                                        "亚马逊",
                                                        "苹果",
                                                        "英伟达",
                                                        "复旦",
                                                        "清华",
                                                        "上海人工智能"};
  return needles;
}

}  // namespace r1
