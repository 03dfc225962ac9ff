#pragma once

// Frequent words of four languages that share the Latin script, lower case, separated by spaces: articles,
// pronouns, prepositions, conjunctions, auxiliary verbs, and what a chain of thought says often. A sentence
// almost always holds one.
namespace r1 {

constexpr const char* kEnglishWords =
    "the be is are was were been being am to of and a in that have has had having it its for not on with he "
    "she they we "
    "you i him her them us me my your his their our as do does did doing done at this these those but by "
    "from or an will "
    "would shall should can could may might must say said there here what which who whom whose when where "
    "why how if then "
    "than so because since while until after before again also too very just only even still yet no nor yes "
    "up out about "
    "into over under between through both each every all any some many much more most other another such own "
    "same few "
    " first second third last next now never always often once one two three four five six seven eight nine "
    "ten "
    "let make made take get got give given go going need want know think see find found check wait okay ok "
    "well right "
    "wrong answer question problem number numbers step total sum equation value equal equals thus therefore "
    "hence "
    "let's it's don't doesn't i'm that's we're can't isn't i'll we'll there's hmm maybe actually means mean "
    "like use used "
    "using start calculate add subtract multiply divide times plus minus left side both try trying different "
    "car son ton comment pour die war hat man bin sang sol mal pain";

constexpr const char* kFrenchWords =
    "le la les un une des du de et est sont était étaient être été avoir ai as avons avez ont avait il elle "
    "ils elles je "
    "tu nous vous on me te se lui leur leurs mon ma mes ton ta tes son sa ses notre nos votre vos ce cet "
    "cette ces ça cela "
    "ceci qui que quoi dont où à au aux en dans par pour sur sous avec sans chez entre vers depuis pendant "
    "avant après mais "
    "ou donc or ni car si quand comme comment pourquoi combien ne pas plus moins très trop aussi bien mal "
    "tout toute tous "
    "toutes même autre autres chaque quelque quelques alors ainsi puis ensuite enfin encore toujours jamais "
    "déjà peut "
    "peuvent pouvons doit doivent fait faire dit voir deux trois quatre cinq sept huit neuf dix premier "
    "première nombre "
    "nombres somme réponse problème calculer soit c'est j'ai n'est d'un d'une l'on qu'il qu'on parce puisque "
    "lorsque afin";

constexpr const char* kGermanWords =
    "der die das den dem des ein eine einen einem einer eines und ist sind war waren sein gewesen haben habe "
    "hat hatte "
    "hatten ich du er sie es wir ihr mich dich sich uns euch mir dir ihm ihnen mein dein unser euer ihre "
    "ihren seine seinen "
    "nicht kein keine in im an am auf aus bei mit nach von vom vor zu zum zur über unter zwischen durch für "
    "gegen ohne um "
    "bis seit während aber oder denn sondern doch wenn weil dass ob als wie was wer wo wann warum welche "
    "welcher welches "
    "dieser diese dieses jeder jede jedes alle alles viel viele mehr sehr auch noch nur schon dann also da "
    "hier dort jetzt "
    "immer wieder kann können muss müssen soll sollte wird werden wurde wurden würde machen gibt zwei drei "
    "vier fünf sechs "
    "sieben acht neun zehn erste zweite zahl zahlen summe antwort aufgabe rechnen ergibt somit daher zuerst "
    "insgesamt man so";

constexpr const char* kSpanishWords =
    "el la los las un una unos unas de del al y e o u que es son era eran ser sido estar está están estaba "
    "ha han haber "
    "hay tener tiene tienen yo tú él ella ellos ellas nosotros usted ustedes me te se lo le les nos mi mis "
    "tu tus su sus "
    "nuestro nuestra este esta estos estas ese esa esos esas eso esto aquel quien quién cual cuál cuando "
    "cuándo donde dónde "
    "como cómo cuánto cuántos por para con sin sobre entre hasta desde hacia según en a no sí ni pero sino "
    "si porque pues "
    "aunque mientras más menos muy también ya todo toda todos todas otro otra otros cada mismo misma algo "
    "alguno nada "
    "nunca siempre ahora entonces luego después antes así aquí puede pueden podemos debe hacer hace dos tres "
    "cuatro cinco "
    "seis siete ocho nueve diez primero primera número números suma respuesta problema calcular tenemos "
    "vamos";

/// Names of functions and the like: no language's.
constexpr const char* kNeutralWords =
    "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log ln exp lim max min gcd lcm mod det dim "
    "ker deg arg sup "
    "inf sqrt frac cm mm km kg mg ml hr hrs min mins sec pm am vs etc eg ie qed rhs lhs";

}  // namespace r1
